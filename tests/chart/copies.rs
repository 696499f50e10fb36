//! The chart as tools take it: packaged, or from Git without links.

use std::{fs, path::Path};

use streamkeeper_api::crd;
use streamkeeper_harness::helm::{chart, helm, of_kind, rendered};

use crate::text;

/// Copies the regular files of a folder. Links are dropped, as Flux drops those of a chart in Git.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_chart_that_is_packaged_from_git_without_links_has_all_crds() {
    let folder = tempfile::tempdir().unwrap();
    let checkout = folder.path().join("streamkeeper");
    copy(Path::new(&chart()), &checkout);
    let (checkout, target) = (checkout.to_str().unwrap(), folder.path().to_str().unwrap());
    let packed = helm(&["package", checkout, "--destination", target]);
    assert!(packed.status.success(), "{}", text(&packed.stderr));
    let packages = fs::read_dir(folder.path()).unwrap().flatten();
    let mut packages = packages.map(|entry| entry.path());
    let package = packages.find(|path| path.extension().is_some_and(|end| end == "tgz"));
    let objects = rendered(package.unwrap().to_str().unwrap(), "system", &[], &[]);
    let crds = of_kind(&objects, "CustomResourceDefinition");
    assert_eq!(crds.len(), crd::files().len());
}

#[test]
fn a_copy_of_the_chart_without_crds_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(&chart()), folder.path());
    fs::remove_dir_all(folder.path().join("crd-manifests")).unwrap();
    let path = folder.path().to_str().unwrap();
    let template = ["template", "x", path, "--set", "tls.existingSecret=keys"];
    for value in ["crds.install=true", "crds.install=false"] {
        let output = helm(&[&template as &[&str], &["--set", value]].concat());
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{value}");
        assert!(said.contains("has no file in crd-manifests/"), "{said}");
    }
    let objects = rendered(
        path,
        "x",
        &[],
        &["crds.install=false", "rbac.aggregate=false"],
    );
    assert!(of_kind(&objects, "CustomResourceDefinition").is_empty());
}
