{{- /* Whether `lookup` reads the cluster. Every namespace has the ServiceAccount `default`; one that `helm install --create-namespace` has yet to make has not, but every cluster has kube-system. */}}
{{- define "streamkeeper.seesCluster" -}}
{{- if or (lookup "v1" "ServiceAccount" .Release.Namespace "default") (lookup "v1" "Namespace" "" "kube-system") -}}
true
{{- end -}}
{{- end -}}
