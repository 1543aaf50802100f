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
	whenCRDs        = ".Values.crds.enabled"
)

// add adds a template to a file of the chart, under a condition unless that is blank.
func add(chart map[string]string, file, condition string, t *template) error {
	if err := t.label(); err != nil {
		return err
	}
	text, err := t.text()
	text = "---\n" + text
	if condition != "" {
		text = "{{- if " + condition + " }}\n" + text + "{{- end }}\n"
	}
	chart["templates/"+file] += text
	return err
}

// installation adds the objects of config/default. The namespace is the release's, which Helm creates. So that helm
// upgrade upgrades CRDs, they are templates, and Helm keeps them, so uninstalling ends no key. A release cannot have
// the canary with its CRD, because Helm looks up all kinds before it creates anything: the controller creates it. The
// bindings to chosen namespaces, instead of the one to all, are in config/chart.
func installation(s *sources, chart map[string]string) error {
	objects, err := s.objects("default")
	if err != nil {
		return err
	}
	for _, o := range objects {
		file, condition := "installation.yaml", ""
		switch {
		case o.kind == "Namespace", o.kind == "ApiKey":
			continue
		case o.kind == "CustomResourceDefinition":
			file, condition = "crds.yaml", whenCRDs
			err = o.add("{{- if .Values.crds.keep }}\nhelm.sh/resource-policy: keep\n{{- end }}", "metadata", "annotations")
		case o.kind == "Deployment":
			file, err = o.name+".yaml", deployment(o)
		case o.kind == "NetworkPolicy":
			file = "networkpolicies.yaml"
			condition, err = networkPolicy(o)
		case o.name == "apikey-metrics-auth":
			condition = securedMetrics
		case o.kind == "PodDisruptionBudget":
			condition, err = disruption(o)
		case o.kind == "Service":
			err = service(o)
		case o.kind == "ServiceAccount":
			err = account(o)
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
	podLabels := []string{"spec", "template", "metadata", "labels"}
	container := inContainer(program)
	return errors.Join(
		replicas(t, program),
		t.add("{{- with "+values+".podLabels }}\n{{- toYaml . | nindent 8 }}\n{{- end }}", podLabels...),
		environment(t, program),
		t.instead(values+".securityContext", "securityContext", 10, container...),
		t.instead(values+".podSecurityContext", "securityContext", 8, podSpec...),
		t.instead(values+".topologySpreadConstraints", "topologySpreadConstraints", 6, podSpec...),
		t.set(`{{ include "apikey-operator.image" . }}`, inContainer(program, "image")...),
		t.set("{{- toYaml "+values+".resources | nindent 10 }}", inContainer(program, "resources")...),
		t.add("{{- with .Values.image.pullPolicy }}\nimagePullPolicy: {{ . }}\n{{- end }}", inContainer(program)...),
		t.add(optionalFlag("zap-log-level", ".Values.log.level"), inContainer(program, "args")...),
		t.add(optionalFlag("zap-encoder", ".Values.log.format"), inContainer(program, "args")...),
		t.add("{{- range "+values+".extraArgs }}\n- {{ . | quote }}\n{{- end }}", inContainer(program, "args")...),
		t.add("{{- with "+values+".podAnnotations }}\n{{- toYaml . | nindent 8 }}\n{{- end }}", annotations...),
		scheduling(t, values),
	)
}

// replicas has the value of a Deployment's replicas, unless an autoscaler owns them.
func replicas(t *template, program string) error {
	values := ".Values." + program
	condition := `not (kindIs "invalid" ` + values + ".replicas)"
	if program != "controller" { // Of controllers one leads: they are not scaled.
		condition = "and (" + condition + ") (not " + values + ".autoscaling.enabled)"
	}
	return errors.Join(
		t.set("{{ "+values+".replicas }}", "spec", "replicas"),
		t.only(condition, "replicas", "spec"),
	)
}

// optionalFlag returns the lines of a flag that is there if its value is not blank.
func optionalFlag(name, value string) string {
	return "{{- with " + value + " }}\n- --" + name + "={{ . }}\n{{- end }}"
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
		t.extend(encrypted, "volumeMounts", ".Values.verifier.extraVolumeMounts", 8, inContainer("verifier")...),
		t.extend(encrypted, "volumes", ".Values.verifier.extraVolumes", 6, podSpec...),
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
		t.add(optionalFlag("leader-elect-lease-duration", ".Values.controller.leaderElection.leaseDuration"), args...),
		t.add(optionalFlag("leader-elect-renew-deadline", ".Values.controller.leaderElection.renewDeadline"), args...),
		t.add(optionalFlag("leader-elect-retry-period", ".Values.controller.leaderElection.retryPeriod"), args...),
		t.add("{{- with .Values.controller.namespaces }}\n- --namespaces={{ join \",\" . }}\n{{- end }}", args...),
		t.addEntry("volumeMounts", mounts, inContainer("controller")...),
		t.addEntry("volumes", volumes, podSpec...),
		t.extend(signedElsewhere, "volumeMounts", ".Values.controller.extraVolumeMounts", 8, inContainer("controller")...),
		t.extend(signedElsewhere, "volumes", ".Values.controller.extraVolumes", 6, podSpec...),
	)
}

// tlsFolder returns where a program's certificate is mounted.
func tlsFolder(program string) string { return "/etc/apikey-" + program + "/tls" }

func tlsArgs(program string) []string {
	folder := tlsFolder(program)
	return []string{"--tls-cert-file=" + folder + "/tls.crt", "--tls-private-key-file=" + folder + "/tls.key"}
}

// alertsPage is where the alerts of config/prometheus say what to do.
const alertsPage = "https://github.com/nexuscommerce/apikey-operator/blob/main/docs/alerts.md"

// monitoring adds config/prometheus.
func monitoring(s *sources, chart map[string]string) error {
	objects, err := s.objects("prometheus")
	if err != nil {
		return err
	}
	for _, o := range objects {
		switch o.kind {
		case "ClusterRoleBinding":
			prometheus := ".Values.monitoring.serviceAccount"
			err = errors.Join(o.set("{{ "+prometheus+".name }}", "subjects", "0", "name"),
				o.set("{{ "+prometheus+".namespace }}", "subjects", "0", "namespace"))
		case "ServiceMonitor":
			err = serviceMonitor(o)
		case "PrometheusRule":
			err = o.replaceAll(alertsPage, "{{ .Values.monitoring.runbookURL }}")
		}
		if o.kind == "ServiceMonitor" || o.kind == "PrometheusRule" {
			labels := "{{- with .Values.monitoring.labels }}\n{{- toYaml . | nindent 4 }}\n{{- end }}"
			err = errors.Join(err, o.add(labels, "metadata", "labels"))
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
		t.add("{{- with .Values.monitoring.interval }}\ninterval: {{ . }}\n{{- end }}", endpoint...),
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
			o.add("{{- with .Values.tls.issuerRef.group }}\ngroup: {{ . }}\n{{- end }}", "spec", "issuerRef"),
			o.add("{{- with .Values.tls.duration }}\nduration: {{ . }}\n{{- end }}", "spec"),
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
			err = errors.Join(settings(o, "console"),
				o.extend("", "volumeMounts", ".Values.console.extraVolumeMounts", 8, inContainer("console")...),
				o.extend("", "volumes", ".Values.console.extraVolumes", 6, podSpec...))
			for _, name := range []string{"tls", "session"} {
				secret := append(append([]string{}, podSpec...), "volumes", name, "secret", "secretName")
				err = errors.Join(err, o.set("{{ .Values.console."+name+".secretName }}", secret...))
			}
		case "PodDisruptionBudget":
			condition, err = disruption(o)
			condition = "and " + whenConsole + " " + condition
		case "Service":
			err = service(o)
		case "ServiceAccount":
			err = account(o)
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

// environment adds the environment variables of a value.
func environment(t *template, program string) error {
	value, container := ".Values."+program+".extraEnv", inContainer(program)
	if _, err := t.at(inContainer(program, "env")...); err != nil {
		return t.add("{{- with "+value+" }}\nenv:\n{{- toYaml . | nindent 8 }}\n{{- end }}", container...)
	}
	return t.extend("", "env", value, 8, container...)
}

// valuesOf names the values of the program that an object belongs to.
func valuesOf(t *template) string { return ".Values." + strings.TrimPrefix(t.name, "apikey-") }

// disruption has the values of a PodDisruptionBudget, and returns when it is there.
func disruption(t *template) (string, error) {
	budget := valuesOf(t) + ".podDisruptionBudget"
	return budget + ".enabled", t.set("{{ "+budget+".maxUnavailable }}", "spec", "maxUnavailable")
}

// annotated adds the annotations of a value.
func annotated(t *template, value string) error {
	return t.add("{{- with "+value+" }}\nannotations:\n{{- toYaml . | nindent 4 }}\n{{- end }}", "metadata")
}

// service has the values of a Service that others than Prometheus ask.
func service(t *template) error {
	if t.name != "apikey-verifier" && t.name != "apikey-console" {
		return nil
	}
	values := valuesOf(t) + ".service"
	return errors.Join(annotated(t, values+".annotations"),
		t.add("{{- with "+values+".type }}\ntype: {{ . }}\n{{- end }}", "spec"))
}

// account has the values of a ServiceAccount.
func account(t *template) error { return annotated(t, valuesOf(t)+".serviceAccount.annotations") }
