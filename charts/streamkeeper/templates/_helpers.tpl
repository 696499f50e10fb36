{{- /* Name of the release's objects. A release name by itself, as it always was; nameOverride is added to it. */}}
{{- define "streamkeeper.name" -}}
{{- $name := .Release.Name -}}
{{- with .Values.nameOverride -}}
{{- if not (contains . $name) -}}
{{- $name = printf "%s-%s" $name . -}}
{{- end -}}
{{- end -}}
{{- .Values.fullnameOverride | default $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* Of what has no namespace: releases of one name in two namespaces must not meet. The colon is in no name of either, so no two pairs read the same. */}}
{{- define "streamkeeper.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "streamkeeper.name" .) -}}
{{- end -}}

{{- define "streamkeeper.labels" -}}
{{- include "streamkeeper.labelsOf" (list . "operator" dict) -}}
{{- end -}}

{{- /* Labels of a component, with more of one's own: these win over commonLabels, and the chart's own win over both. */}}
{{- define "streamkeeper.labelsOf" -}}
{{- $root := first . -}}
{{- $own := dict
  "app.kubernetes.io/name" "streamkeeper"
  "app.kubernetes.io/component" (index . 1)
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/part-of" "streamkeeper" -}}
{{- toYaml (merge $own (index . 2 | default dict) ($root.Values.commonLabels | default dict)) -}}
{{- end -}}

{{- define "streamkeeper.selector" -}}
app.kubernetes.io/name: streamkeeper
app.kubernetes.io/component: operator
streamkeeper.dev/release: {{ include "streamkeeper.name" . }}
{{- end -}}

{{- define "streamkeeper.serviceAccount" -}}
{{- if or .Values.serviceAccount.create .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name | default (include "streamkeeper.name" .) -}}
{{- else -}}
{{- fail "serviceAccount.create is false and serviceAccount.name is empty: name the ServiceAccount that is there, or let the chart create one" -}}
{{- end -}}
{{- end -}}

{{- define "streamkeeper.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Where pods of the release run, and with which pull secrets: the operator's and that of `helm test`. */}}
{{- define "streamkeeper.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.operator }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* OpenShift gives pods user and groups from the range of their namespace, and refuses others. */}}
{{- define "streamkeeper.onOpenShift" -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
true
{{- end -}}
{{- end -}}

{{- /* What is null is left to the platform, and so are the ids of the images where the platform has its own. */}}
{{- define "streamkeeper.podSecurity" -}}
{{- $kept := dict -}}
{{- range $name, $value := .Values.podSecurityContext -}}
{{- $isId := has $name (list "runAsUser" "runAsGroup" "fsGroup") -}}
{{- if kindIs "invalid" $value -}}
{{- else if not $isId -}}
{{- $_ := set $kept $name $value -}}
{{- else if not (and (eq (int64 $value) 65532) (include "streamkeeper.onOpenShift" $)) -}}
{{- $_ := set $kept $name (int64 $value) -}}
{{- end -}}
{{- end -}}
{{- toYaml $kept -}}
{{- end -}}

{{- define "streamkeeper.containerSecurity" -}}
{{- toYaml .Values.securityContext -}}
{{- end -}}

{{- /* Resources as the operator's flag takes them: quantities as texts. */}}
{{- define "streamkeeper.jobResources" -}}
{{- $all := dict -}}
{{- range $part, $given := .Values.runtime.resources -}}
{{- $quantities := dict -}}
{{- range $name, $value := $given -}}
{{- $_ := set $quantities $name (toString $value) -}}
{{- end -}}
{{- if $quantities -}}
{{- $_ := set $all $part $quantities -}}
{{- end -}}
{{- end -}}
{{- if $all -}}
{{- toJson $all -}}
{{- end -}}
{{- end -}}
