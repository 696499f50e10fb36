{{- define "streamkeeper.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* Of what has no namespace: releases of one name in two namespaces must not meet. The colon is in no name of either, so no two pairs read the same. */}}
{{- define "streamkeeper.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "streamkeeper.name" .) -}}
{{- end -}}

{{- define "streamkeeper.labels" -}}
app.kubernetes.io/name: streamkeeper
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: streamkeeper
{{- end -}}

{{- define "streamkeeper.selector" -}}
app.kubernetes.io/name: streamkeeper
app.kubernetes.io/component: operator
streamkeeper.dev/release: {{ include "streamkeeper.name" . }}
{{- end -}}

{{- /* What the Pod Security Standard "restricted" demands. */}}
{{- define "streamkeeper.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "streamkeeper.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
