package main

import (
	"strings"
	"testing"
)

const manifest = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: apikey-system
spec:
  replicas: 3 # enough
  template:
    spec:
      containers:
      - name: main
        args:
        - --tls
        - --address=web.apikey-system.svc
        message: 'pod {{ $pod }}: down'
        env:
        - name: A
          value: b
      volumes: []
`

// TestTemplate makes each kind of change, and compares the whole text.
func TestTemplate(t *testing.T) {
	all, err := parse([]byte(manifest))
	if err != nil || len(all) != 1 || all[0].kind != "Deployment" || all[0].name != "web" {
		t.Fatalf("%+v, %v", all, err)
	}
	o := all[0]
	for _, err := range []error{
		o.set("{{ .Values.replicas }}", "spec", "replicas"),
		o.choose(".Values.plain", []string{"--plain"}, []string{"--tls"}, inContainer("main", "args")...),
		o.add("{{- range .Values.args }}\n- {{ . }}\n{{- end }}", inContainer("main", "args")...),
		o.only(".Values.volumes", "volumes", podSpec...),
		o.addOnly(".Values.host", "hostNetwork", true, podSpec...),
		o.only(".Values.named", "name", inContainer("main", "env", "0")...),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const want = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: {{ .Release.Namespace }}
spec:
  replicas: {{ .Values.replicas }}
  template:
    spec:
      containers:
      - name: main
        args:
        {{- if .Values.plain }}
        - --plain
        {{- else }}
        - --tls
        {{- end }}
        - --address=web.{{ .Release.Namespace }}.svc
        {{- range .Values.args }}
        - {{ . }}
        {{- end }}
        message: 'pod {{ ` + "`{{`" + ` }} $pod }}: down'
        env:
        - value: b
          {{- if .Values.named }}
          name: A
          {{- end }}
      {{- if .Values.volumes }}
      volumes: []
      {{- end }}
      {{- if .Values.host }}
      hostNetwork: true
      {{- end }}
`
	if got, err := o.text(); err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestMissingPlaces checks that a change at a path that does not exist is an error: config/ has changed, and the chart
// must be adapted.
func TestMissingPlaces(t *testing.T) {
	all, err := parse([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	o := all[0]
	for name, err := range map[string]error{
		"a value":        o.set("{{ . }}", "spec", "paused"),
		"an element":     o.set("{{ . }}", inContainer("other", "image")...),
		"an entry":       o.only("true", "affinity", podSpec...),
		"an argument":    o.choose("true", []string{"--a"}, []string{"--b"}, inContainer("main", "args")...),
		"an index":       o.set("{{ . }}", inContainer("main", "args", "7")...),
		"a mapping":      o.add("{{- end }}", "spec", "strategy"),
		"what to follow": o.addOnly("true", "a", 1, "status"),
	} {
		if err == nil || !strings.Contains(err.Error(), "web") {
			t.Errorf("%s that is not there: %v", name, err)
		}
	}
}

// TestSetScalars checks that nothing else in a file changes, and that the new value is read as the same kind of scalar.
func TestSetScalars(t *testing.T) {
	const file = "# Values.\n\nimage:\n  repository: web # ours\n  # Blank is the version's.\n  tag: \"\"\n\nother: 'a'\n"
	got, err := setScalars(file,
		map[string]string{"image.repository": "registry.example.com:5000/web", "image.tag": "1.10", "other": "it's"})
	want := "# Values.\n\nimage:\n  repository: registry.example.com:5000/web # ours\n  # Blank is the version's.\n  " +
		"tag: \"1.10\"\n\nother: 'it''s'\n"
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	for _, path := range []string{"image.digest", "image"} {
		if _, err := setScalars(file, map[string]string{path: "x"}); err == nil {
			t.Errorf("%s is set", path)
		}
	}
}
