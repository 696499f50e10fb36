{{- /* What a schema can only refuse without a word about what to write. */}}
{{- define "streamkeeper.checks" -}}
{{- with .Values.storage.s3 -}}

{{- with .uri -}}
{{- $bucket := regexFind "^[^/]*" (trimPrefix "s3://" .) -}}
{{- $strange := regexFind "[^A-Za-z0-9._-]" $bucket -}}
{{- if not (hasPrefix "s3://" .) -}}
{{- fail (printf "storage.s3.uri is %q: write the bucket and, if you like, a prefix in it, like s3://bucket/prefix; the server's address is storage.s3.endpoint" .) -}}
{{- else if $strange -}}
{{- fail (printf "storage.s3.uri is %q: %q is in no name of a bucket; write s3://bucket/prefix with a bucket of letters, digits, dots, hyphens and underscores" . $strange) -}}
{{- else if not (regexMatch "^[A-Za-z0-9._-]{3,255}$" $bucket) -}}
{{- fail (printf "storage.s3.uri is %q: %q is no name of a bucket (3 to 255 letters, digits, dots, hyphens and underscores); write s3://bucket/prefix" . $bucket) -}}
{{- else if regexMatch "[?#[:space:]]" . -}}
{{- fail (printf "storage.s3.uri is %q: a prefix has no spaces, ? or #; write s3://bucket/prefix" .) -}}
{{- else if contains "//" (trimPrefix "s3://" .) -}}
{{- fail (printf "storage.s3.uri is %q: a part of the prefix is empty; write s3://bucket/prefix with single slashes" .) -}}
{{- end -}}
{{- end -}}

{{- with .endpoint -}}
{{- $server := regexFind "^https?://[^/?#]*" . -}}
{{- $host := regexReplaceAll "^https?://" $server "" -}}
{{- $rest := trimPrefix $server . | trimAll "/" -}}
{{- $virtual := "[.](s3[.-]([a-z0-9-]+[.])?amazonaws[.]com([.]cn)?|[a-z0-9-]+[.]digitaloceanspaces[.]com|storage[.]googleapis[.]com|s3[.][a-z0-9-]+[.](backblazeb2|wasabisys)[.]com)(:[0-9]+)?$" -}}
{{- if or (not $server) (not $host) -}}
{{- fail (printf "storage.s3.endpoint is %q: write the URL of a server, like https://s3.example.com or http://s3.storage.svc:8333; leave it empty for AWS" .) -}}
{{- else if contains "@" $host -}}
{{- fail "storage.s3.endpoint has credentials in it: write the URL of the server alone, and put the keys into the Secret that storage.credentialsSecret names" -}}
{{- else if not (regexMatch "^([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$" $host) -}}
{{- fail (printf "storage.s3.endpoint is %q: %q is no name and port of a server; write it like http://s3.storage.svc:8333" . $host) -}}
{{- else if $rest -}}
{{- fail (printf "storage.s3.endpoint is %q: an endpoint is a server and has no path; write storage.s3.endpoint=%s, and bucket and prefix as storage.s3.uri, like s3://%s" . $server (regexReplaceAll "[?#].*$" $rest "" | default "bucket/prefix")) -}}
{{- else if regexMatch $virtual $host -}}
{{- $bucket := regexReplaceAll $virtual $host "" -}}
{{- fail (printf "storage.s3.endpoint is %q: it has the bucket %q in it; write storage.s3.uri=s3://%s/prefix, and the endpoint without it, or none for AWS (storage.s3.region says where)" . $bucket $bucket) -}}
{{- end -}}
{{- end -}}

{{- if and .unsignedPayload (hasPrefix "http://" .endpoint) -}}
{{- fail "storage.s3.unsignedPayload is set, but storage.s3.endpoint is http://: nothing protects content that is not signed there; write https://, or leave out unsignedPayload" -}}
{{- end -}}
{{- if and .sse.kmsKeyId (not .sse.type) -}}
{{- fail "storage.s3.sse.kmsKeyId is set, but storage.s3.sse.type is not: write storage.s3.sse.type=aws:kms beside it" -}}
{{- end -}}
{{- if and .caBundle.configMap (hasPrefix "http://" .endpoint) -}}
{{- fail "storage.s3.caBundle is set, but storage.s3.endpoint is http://: nothing is encrypted there, so no certificate is checked; write https://, or leave out the caBundle" -}}
{{- end -}}

{{- end -}}
{{- range $where, $resources := dict "operator.resources" .Values.operator.resources "runtime.resources" .Values.runtime.resources -}}
{{- range $part, $quantities := $resources -}}
{{- $memory := get ($quantities | default dict) "memory" | toString -}}
{{- if regexMatch "[num]$" $memory -}}
{{- $number := regexFind "^[0-9]+" $memory -}}
{{- fail (printf "%s.%s.memory is %s, and m is a thousandth: write %sMi" $where $part $memory ($number | default "256")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and (not .Values.metrics.enabled) .Values.metrics.serviceMonitor.enabled -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.enabled: the operator serves no metrics without it" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service: a ServiceMonitor finds pods through a Service" -}}
{{- end -}}
{{- end -}}
