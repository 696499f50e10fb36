{{- define "streamkeeper.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
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
