//! Amounts of memory that cannot be meant. `2048m` is 2048 thousandths of a byte to Kubernetes, and
//! 2048 megabytes to people who come from the JVM.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The least that a worker or a sidecar can do anything with, in bytes.
const LEAST: f64 = 1_048_576.0;

/// Says what is wrong with the memory in a list of resources, if something is.
pub fn fault(resources: &BTreeMap<String, Quantity>) -> Option<String> {
    let written = resources.get("memory")?.0.as_str();
    let bytes = bytes(written)?;
    // Zero is a way to ask for nothing.
    if bytes >= LEAST || bytes == 0.0 {
        return None;
    }
    let digits: String = written
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let meant = match digits.parse::<f64>() {
        Ok(number) if written.ends_with('m') && number >= 1024.0 && number % 1024.0 == 0.0 => {
            format!("{}Gi or {digits}Mi", number / 1024.0)
        }
        Ok(number) if written.ends_with('m') && number > 0.0 => format!("{digits}Mi"),
        Ok(_) | Err(_) => "512Mi".to_owned(),
    };
    let unit = if written.ends_with('m') {
        "the suffix m means thousandths of a byte, so this"
    } else {
        "this"
    };
    Some(format!(
        "memory {written}: {unit} is less than 1Mi; write {meant}"
    ))
}

/// Reads a quantity; none when it is no number of a sane size.
fn bytes(written: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    if let Ok(plain) = written.parse::<f64>() {
        return Some(plain);
    }
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((written.strip_suffix(unit)?, factor)))?;
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(written: &str) -> Option<String> {
        fault(&BTreeMap::from([(
            "memory".to_owned(),
            Quantity(written.to_owned()),
        )]))
    }

    #[test]
    fn memory_in_megabytes_as_the_jvm_writes_it_is_refused_with_what_to_write() {
        let said = of("2048m").unwrap();
        assert!(said.contains("write 2Gi or 2048Mi"), "{said}");
        assert!(of("1500m").unwrap().contains("write 1500Mi"));
        assert!(of("2048").unwrap().contains("less than 1Mi"));
        assert!(of("0.5Mi").unwrap().contains("write 512Mi"));
        assert!(of("100k").is_some());
    }

    #[test]
    fn memory_that_can_be_meant_passes() {
        for written in [
            "1Mi",
            "2Gi",
            "2048Mi",
            "1.5Gi",
            "1e9",
            "2G",
            "1048576",
            "128974848",
            "129M",
            "0",
            "1E3Mi",
        ] {
            assert_eq!(of(written), None, "{written}");
        }
        assert_eq!(fault(&BTreeMap::new()), None);
    }
}
