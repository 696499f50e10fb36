{{- /* Refuses a copy of the chart without CRDs: the release would lack what everything else stands on. */}}
{{- define "streamkeeper.hasCrds" -}}
{{- if not (.Files.Glob "crd-manifests/*.yaml") -}}
{{- fail "this copy of the chart has no file in crd-manifests/, so it can neither install the CRDs nor name them in roles: take the chart with that folder (git archive, helm package), or set crds.install=false and rbac.aggregate=false and apply the CRDs yourself (kubectl apply --server-side -f crds/)" -}}
{{- end -}}
{{- end -}}
