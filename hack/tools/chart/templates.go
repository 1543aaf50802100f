package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Conditions on values.
const (
	certManager     = `eq .Values.tls.mode "cert-manager"`
	plainText       = `eq .Values.tls.mode "none"`
	encrypted       = `ne .Values.tls.mode "none"`
	signedElsewhere = `has .Values.tls.mode (list "cert-manager" "secrets")`
	securedMetrics  = ".Values.metrics.secure"
	everyNamespace  = "not .Values.controller.namespaces"
	whenMonitoring  = ".Values.monitoring.enabled"
	whenNetworkOnly = ".Values.networkPolicy.enabled"
	whenConsole     = ".Values.console.enabled"
)

// add adds a template to a file of the chart, under a condition unless that is blank.
func add(chart map[string]string, file, condition string, t *template) error {
	text, err := t.text()
	text = "---\n" + text
	if condition != "" {
		text = "{{- if " + condition + " }}\n" + text + "{{- end }}\n"
	}
	chart["templates/"+file] += text
	return err
}

// installation adds the objects of config/default. The namespace is the release's, which Helm creates. CRDs are in
// crds/: Helm installs them first and never removes them, so uninstalling ends no key. The bindings to chosen
// namespaces, instead of the one to all, are in config/chart.
func installation(s *sources, chart map[string]string) error {
	objects, err := s.objects("default")
	if err != nil {
		return err
	}
	for _, o := range objects {
		file, condition := "installation.yaml", ""
		switch {
		case o.kind == "Namespace":
			continue
		case o.kind == "CustomResourceDefinition":
			if chart["crds/"+o.name+".yaml"], err = o.plain(); err != nil {
				return err
			}
			continue
		case o.kind == "Deployment":
			file, err = o.name+".yaml", deployment(o)
		case o.kind == "NetworkPolicy":
			file = "networkpolicies.yaml"
			condition, err = networkPolicy(o)
		case o.name == "apikey-metrics-auth":
			condition = securedMetrics
		case o.kind == "ClusterRoleBinding" && o.name == "apikey-controller-secrets":
			condition = everyNamespace
		}
		if err := errors.Join(err, add(chart, file, condition, o)); err != nil {
			return err
		}
	}
	return nil
}

// Paths in a Deployment.
var podSpec = []string{"spec", "template", "spec"}

func inContainer(program string, path ...string) []string {
	return append([]string{"spec", "template", "spec", "containers", program}, path...)
}

// settings adds the values that each program has.
func settings(t *template, program string) error {
	values := ".Values." + program
	annotations := []string{"spec", "template", "metadata", "annotations"}
	return errors.Join(
		t.set("{{ "+values+".replicas }}", "spec", "replicas"),
		t.set(`{{ include "apikey-operator.image" . }}`, inContainer(program, "image")...),
		t.set("{{- toYaml "+values+".resources | nindent 10 }}", inContainer(program, "resources")...),
		t.add("{{- with .Values.image.pullPolicy }}\nimagePullPolicy: {{ . }}\n{{- end }}", inContainer(program)...),
		t.add("{{- range "+values+".extraArgs }}\n- {{ . | quote }}\n{{- end }}", inContainer(program, "args")...),
		t.add("{{- with "+values+".podAnnotations }}\n{{- toYaml . | nindent 8 }}\n{{- end }}", annotations...),
		scheduling(t, values),
	)
}

// scheduling adds the values that say where a pod runs, and where its image is pulled from.
func scheduling(t *template, values string) error {
	var errs []error
	field := func(name, value string) {
		lines := "{{- with " + value + " }}\n" + name + ":\n  {{- toYaml . | nindent 8 }}\n{{- end }}"
		errs = append(errs, t.add(lines, podSpec...))
	}
	for _, name := range []string{"nodeSelector", "tolerations", "affinity"} {
		field(name, values+"."+name)
	}
	name := "{{- with " + values + ".priorityClassName }}\npriorityClassName: {{ . }}\n{{- end }}"
	errs = append(errs, t.add(name, podSpec...))
	field("imagePullSecrets", ".Values.imagePullSecrets")
	return errors.Join(errs...)
}

// deployment adds the values of a program's Deployment.
func deployment(t *template) error {
	program := strings.TrimPrefix(t.name, "apikey-")
	ports := controllerPorts
	if program == "verifier" {
		ports = verifierPorts
	}
	return errors.Join(ports(t), settings(t, program))
}

// verifierPorts makes the verifier's ports depend on values: with its certificate, or plain text.
func verifierPorts(t *template) error {
	args := inContainer("verifier", "args")
	return errors.Join(
		t.choose(plainText, []string{"--insecure-plain-text"}, tlsArgs("verifier"), args...),
		t.choose("and "+securedMetrics+" ("+encrypted+")", []string{"--metrics-secure"}, nil, args...),
		t.only(encrypted, "scheme", inContainer("verifier", "livenessProbe", "httpGet")...),
		t.only(encrypted, "scheme", inContainer("verifier", "readinessProbe", "httpGet")...),
		t.only(encrypted, "volumeMounts", inContainer("verifier")...),
		t.only(encrypted, "volumes", podSpec...),
	)
}

// controllerPorts makes the controller's ports depend on values: with its own certificate, or one from elsewhere.
func controllerPorts(t *template) error {
	args := inContainer("controller", "args")
	mounts := []any{map[string]any{"mountPath": tlsFolder("controller"), "name": "tls", "readOnly": true}}
	volumes := []any{map[string]any{"name": "tls", "secret": map[string]any{"secretName": "apikey-controller-tls"}}}
	return errors.Join(
		t.choose(securedMetrics, []string{"--metrics-secure"}, nil, args...),
		t.choose(signedElsewhere, tlsArgs("controller"), []string{"--self-signed-certificates"}, args...),
		t.add("{{- with .Values.controller.namespaces }}\n- --namespaces={{ join \",\" . }}\n{{- end }}", args...),
		t.addOnly(signedElsewhere, "volumeMounts", mounts, inContainer("controller")...),
		t.addOnly(signedElsewhere, "volumes", volumes, podSpec...),
	)
}

// tlsFolder returns where a program's certificate is mounted.
func tlsFolder(program string) string { return "/etc/apikey-" + program + "/tls" }

func tlsArgs(program string) []string {
	folder := tlsFolder(program)
	return []string{"--tls-cert-file=" + folder + "/tls.crt", "--tls-private-key-file=" + folder + "/tls.key"}
}

// monitoring adds config/prometheus.
func monitoring(s *sources, chart map[string]string) error {
	objects, err := s.objects("prometheus")
	if err != nil {
		return err
	}
	for _, o := range objects {
		switch o.kind {
		case "ClusterRoleBinding":
			account := ".Values.monitoring.serviceAccount"
			err = errors.Join(o.set("{{ "+account+".name }}", "subjects", "0", "name"),
				o.set("{{ "+account+".namespace }}", "subjects", "0", "namespace"))
		case "ServiceMonitor":
			err = serviceMonitor(o)
		}
		if err := errors.Join(err, add(chart, "monitoring.yaml", whenMonitoring, o)); err != nil {
			return err
		}
	}
	return nil
}

// serviceMonitor makes Prometheus check the server's certificate or, with plain text, send no token.
func serviceMonitor(t *template) error {
	endpoint := []string{"spec", "endpoints", "0"}
	authority := slices.Concat(endpoint, []string{"tlsConfig", "ca"})
	secret := map[string]any{"key": "ca.crt", "name": t.name + "-tls"}
	err := errors.Join(
		t.only("not ("+certManager+")", "configMap", authority...),
		t.addOnly(certManager, "secret", secret, authority...),
	)
	if t.name != "apikey-verifier" {
		return err
	}
	return errors.Join(err,
		t.set("{{ if "+plainText+" }}http{{ else }}https{{ end }}", append(endpoint, "scheme")...),
		t.only(encrypted, "bearerTokenFile", endpoint...),
		t.only(encrypted, "tlsConfig", endpoint...),
	)
}

// certificates adds the objects of config/components/cert-manager.
func certificates(_ *sources, chart map[string]string) error {
	objects, err := component("cert-manager/certificates.yaml")
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := errors.Join(
			o.set("{{ .Values.tls.issuerRef.kind }}", "spec", "issuerRef", "kind"),
			o.set("{{ .Values.tls.issuerRef.name }}", "spec", "issuerRef", "name"),
			add(chart, "certificates.yaml", certManager, o),
		); err != nil {
			return err
		}
	}
	return nil
}

// console adds config/components/console.
func console(s *sources, chart map[string]string) error {
	objects, err := s.objects("components/console")
	if err != nil {
		return err
	}
	for _, o := range objects {
		condition := whenConsole
		switch o.kind {
		case "Deployment":
			err = settings(o, "console")
			for _, name := range []string{"tls", "session"} {
				secret := append(append([]string{}, podSpec...), "volumes", name, "secret", "secretName")
				err = errors.Join(err, o.set("{{ .Values.console."+name+".secretName }}", secret...))
			}
		case "NetworkPolicy":
			condition = "and " + whenNetworkOnly + " " + whenConsole
		}
		if err := errors.Join(err, add(chart, "console.yaml", condition, o)); err != nil {
			return err
		}
	}
	return nil
}

// networkPolicy adds the values of one of config/network-policies, and returns the condition for it.
func networkPolicy(t *template) (string, error) {
	if t.name == "apikey-verifier-from-proxies" {
		return letsIn("proxies"), nil
	}
	const label = "kubernetes.io/metadata.name"
	return whenNetworkOnly, t.set("{{ .Values.monitoring.serviceAccount.namespace }}",
		"spec", "ingress", "1", "from", "0", "namespaceSelector", "matchLabels", label)
}

// letsIn returns the condition for a NetworkPolicy that lets a proxy in.
func letsIn(proxy string) string {
	return fmt.Sprintf("and %s (has %q .Values.networkPolicy.proxies)", whenNetworkOnly, proxy)
}

// networkPolicies adds the objects of config/components/network-policies.
func networkPolicies(_ *sources, chart map[string]string) error {
	paths, err := filepath.Glob("config/components/network-policies/*/networkpolicy.yaml")
	if err != nil {
		return err
	}
	for _, path := range paths {
		proxy := filepath.Base(filepath.Dir(path))
		objects, err := component("network-policies/" + proxy + "/" + filepath.Base(path))
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := add(chart, "networkpolicies.yaml", letsIn(proxy), o); err != nil {
				return err
			}
		}
	}
	return nil
}
