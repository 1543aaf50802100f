{{/* The image of both programs. */}}
{{- define "apikey-operator.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the verifier's certificate; nothing for plain text. */}}
{{- define "apikey-operator.verifierTLS" -}}
{{- if .Values.certManager.enabled -}}
apikey-verifier-tls
{{- else -}}
{{ .Values.verifier.tls.secretName }}
{{- end -}}
{{- end -}}
