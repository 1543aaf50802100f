{{/* The image of all programs. A repository whose first part is a host, which has a dot or a port, names its registry itself. */}}
{{- define "apikey-operator.image" -}}
{{- $registry := ternary "" .Values.image.registry (regexMatch "^[^/]*[.:][^/]*/" .Values.image.repository) -}}
{{- with .Values.global.imageRegistry | default $registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object, beside its name and what it is part of. */}}
{{- define "apikey-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of what belongs to the settings page. */}}
{{- define "apikey-operator.consoleLabels" -}}
app.kubernetes.io/name: apikey-console
app.kubernetes.io/part-of: apikey-operator
{{ include "apikey-operator.labels" . }}
{{- end }}
