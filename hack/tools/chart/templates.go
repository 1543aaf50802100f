package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	certManager     = `eq .Values.tls.mode "cert-manager"`
	plainText       = `eq .Values.tls.mode "none"`
	encrypted       = `ne .Values.tls.mode "none"`
	signedElsewhere = `has .Values.tls.mode (list "cert-manager" "secrets")`
	securedMetrics  = ".Values.metrics.secure"
	servedSome      = ".Values.controller.namespaces"
	whenMonitoring  = ".Values.monitoring.enabled"
	whenNetworkOnly = ".Values.networkPolicy.enabled"
	whenConsole     = ".Values.console.enabled"
)

// installation adds what config/default has. The namespace is the release's, which Helm makes; kinds are in crds/, which Helm
// installs first and never removes, so that uninstalling the programs ends no key.
func installation(s *sources, chart map[string]string) error {
	objects, err := s.objects("default")
	if err != nil {
		return err
	}
	for _, o := range objects {
		template, file := "---\n"+o.template(), "installation.yaml"
		switch {
		case o.kind == "Namespace":
			continue
		case o.kind == "CustomResourceDefinition":
			chart["crds/"+o.name+".yaml"] = o.text
			continue
		case o.kind == "Deployment":
			template, err = deployment(o)
			file = o.name + ".yaml"
		case o.kind == "NetworkPolicy":
			template, err = networkPolicy(o)
			file = "networkpolicies.yaml"
		case o.name == "apikey-metrics-auth":
			template = when(securedMetrics, o.template())
		case o.kind == "ClusterRoleBinding" && o.name == "apikey-controller-secrets":
			template = when("not "+servedSome, o.template()) + when(servedSome, roleBindings)
		}
		if err != nil {
			return err
		}
		chart["templates/"+file] += template
	}
	return nil
}

// roleBindings are those of config/components/namespaces.
const roleBindings = `{{- range prepend .Values.controller.namespaces .Release.Namespace | uniq }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: apikey-controller-secrets
  namespace: {{ . }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: apikey-controller-secrets
subjects:
- kind: ServiceAccount
  name: apikey-controller
  namespace: {{ $.Release.Namespace }}
{{- end }}
`

// settings are the values that each of the programs has.
func settings(program, template string) ([]edit, error) {
	values := ".Values." + program
	replicas, err := between(template, "\n  replicas: ", "\n")
	if err != nil {
		return nil, err
	}
	resources, err := between(template, "        resources:\n", "        securityContext:\n")
	if err != nil {
		return nil, err
	}
	const lastArg = "        - --health-probe-bind-address=:8081\n"
	return []edit{
		{"\n  replicas: " + replicas + "\n", "\n  replicas: {{ " + values + ".replicas }}\n"},
		{"        image: apikey-operator:dev\n", "        image: {{ include \"apikey-operator.image\" . }}\n        {{- with .Values.image.pullPolicy }}\n        imagePullPolicy: {{ . }}\n        {{- end }}\n"},
		{resources, "          {{- toYaml " + values + ".resources | nindent 10 }}\n"},
		{lastArg, lastArg + extraArgs(program)},
		{
			"        kubectl.kubernetes.io/default-container: " + program + "\n",
			"        kubectl.kubernetes.io/default-container: " + program + "\n        {{- with " + values + ".podAnnotations }}\n        {{- toYaml . | nindent 8 }}\n        {{- end }}\n",
		},
	}, nil
}

// deployment has the values of one of the programs.
func deployment(o object) (string, error) {
	program := strings.TrimPrefix(o.name, "apikey-")
	template := o.template()
	edits, err := settings(program, template)
	if err != nil {
		return "", err
	}
	if program == "verifier" {
		template, err = verifierPorts(template, edits)
	} else {
		template, err = controllerPorts(template, edits)
	}
	return "---\n" + template + scheduling(".Values."+program), err
}

// verifierPorts has the verifier's certificate, or plain text.
func verifierPorts(template string, edits []edit) (string, error) {
	mount, volume := "        volumeMounts:\n"+tlsMount("verifier"), "      volumes:\n"+tlsVolume("verifier")
	template, err := apply(template, append(edits,
		edit{tlsArgs("verifier"), whether(plainText, "        - --insecure-plain-text\n", tlsArgs("verifier"))},
		edit{"        - --metrics-secure\n", only("and "+securedMetrics+" ("+encrypted+")", "        - --metrics-secure\n")},
		edit{mount, only(encrypted, mount)},
		edit{volume, only(encrypted, volume)})...)
	const scheme = "            scheme: HTTPS\n" // Of both probes.
	return strings.ReplaceAll(template, scheme, only(encrypted, scheme)), err
}

// controllerPorts has the controller's own certificate, or one from elsewhere.
func controllerPorts(template string, edits []edit) (string, error) {
	template, err := apply(template, append(edits,
		edit{"        - --metrics-secure\n", only(securedMetrics, "        - --metrics-secure\n")},
		edit{"        - --self-signed-certificates\n", whether(signedElsewhere, tlsArgs("controller"), "        - --self-signed-certificates\n")},
		edit{"      securityContext:\n        runAsGroup", only(signedElsewhere, "        volumeMounts:\n"+tlsMount("controller")) + "      securityContext:\n        runAsGroup"})...)
	return template + only(signedElsewhere, "      volumes:\n"+tlsVolume("controller")), err
}

// only puts a condition around a part of a template.
func only(condition, part string) string {
	return "        {{- if " + condition + " }}\n" + part + "        {{- end }}\n"
}

// whether has one of two parts of a template.
func whether(condition, part, otherwise string) string {
	return "        {{- if " + condition + " }}\n" + part + "        {{- else }}\n" + otherwise + "        {{- end }}\n"
}

func tlsArgs(program string) string {
	folder := "/etc/apikey-" + program + "/tls/"
	return "        - --tls-cert-file=" + folder + "tls.crt\n        - --tls-private-key-file=" + folder + "tls.key\n"
}

func tlsMount(program string) string {
	return "        - mountPath: /etc/apikey-" + program + "/tls\n          name: tls\n          readOnly: true\n"
}

func tlsVolume(program string) string {
	return "      - name: tls\n        secret:\n          secretName: apikey-" + program + "-tls\n"
}

func extraArgs(program string) string {
	args := ""
	if program == "controller" {
		args = "        {{- with " + servedSome + " }}\n        - --namespaces={{ join \",\" . }}\n        {{- end }}\n"
	}
	return args + "        {{- range .Values." + program + ".extraArgs }}\n        - {{ . | quote }}\n        {{- end }}\n"
}

// scheduling is at the end of a pod's spec.
func scheduling(values string) string {
	var text strings.Builder
	for _, field := range []string{"nodeSelector", "tolerations", "affinity"} {
		fmt.Fprintf(&text, "      {{- with %s.%s }}\n      %s:\n        {{- toYaml . | nindent 8 }}\n      {{- end }}\n", values, field, field)
	}
	fmt.Fprintf(&text, "      {{- with %s.priorityClassName }}\n      priorityClassName: {{ . }}\n      {{- end }}\n", values)
	return text.String() + "      {{- with .Values.imagePullSecrets }}\n      imagePullSecrets:\n        {{- toYaml . | nindent 8 }}\n      {{- end }}\n"
}

// between returns what is between two texts, of which the first is there once.
func between(text, begin, end string) (string, error) {
	before, after, ok := strings.Cut(text, begin)
	found, _, closed := strings.Cut(after, end)
	if !ok || !closed || strings.Contains(after, begin) || before == "" {
		return "", fmt.Errorf("%q is not there once, followed by %q", begin, end)
	}
	return found, nil
}

// monitoring adds config/prometheus.
func monitoring(s *sources, chart map[string]string) error {
	objects, err := s.objects("prometheus")
	if err != nil {
		return err
	}
	for _, o := range objects {
		template := o.template()
		switch o.kind {
		case "ClusterRoleBinding":
			template, err = apply(template,
				edit{"  name: prometheus-k8s\n  namespace: monitoring\n", "  name: {{ .Values.monitoring.serviceAccount.name }}\n  namespace: {{ .Values.monitoring.serviceAccount.namespace }}\n"})
		case "ServiceMonitor":
			template, err = serviceMonitor(o.name, template)
		}
		if err != nil {
			return err
		}
		chart["templates/monitoring.yaml"] += when(whenMonitoring, template)
	}
	return nil
}

// serviceMonitor has Prometheus check who answers, or where there is plain text, send no token.
func serviceMonitor(program, template string) (string, error) {
	const ca = "        configMap:\n          key: ca.crt\n          name: apikey-ca\n"
	template, err := apply(template, edit{ca, whether(certManager, "        secret:\n          key: ca.crt\n          name: "+program+"-tls\n", ca)})
	if err != nil || program != "apikey-verifier" {
		return template, err
	}
	const bearer = "  - bearerTokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token\n    port: metrics\n    scheme: https\n"
	secured, err := between(template, "    scheme: https\n", "  selector:\n")
	if err != nil {
		return "", err
	}
	return apply(template,
		edit{bearer + secured, whether(plainText, "  - port: metrics\n    scheme: http\n", bearer+secured)})
}

// certificates adds those of config/components/cert-manager.
func certificates(_ *sources, chart map[string]string) error {
	objects, err := component("cert-manager/certificates.yaml")
	if err != nil {
		return err
	}
	for _, o := range objects {
		template, err := apply(o.template(),
			edit{"    kind: ClusterIssuer\n    name: cluster-ca\n", "    kind: {{ .Values.tls.issuerRef.kind }}\n    name: {{ .Values.tls.issuerRef.name }}\n"})
		if err != nil {
			return err
		}
		chart["templates/certificates.yaml"] += when(certManager, template)
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
		template := o.template()
		if o.kind == "Deployment" {
			edits, err := settings("console", template)
			if err != nil {
				return err
			}
			for _, secret := range []string{"tls", "session"} {
				edits = append(edits, edit{"secretName: apikey-console-" + secret + "\n", "secretName: {{ .Values.console." + secret + ".secretName }}\n"})
			}
			if template, err = apply(template, edits...); err != nil {
				return err
			}
			template += scheduling(".Values.console")
		}
		condition := whenConsole
		if o.kind == "NetworkPolicy" {
			condition = "and " + whenNetworkOnly + " " + whenConsole
		}
		chart["templates/console.yaml"] += when(condition, template)
	}
	return nil
}

// networkPolicy has the values of one of config/network-policies.
func networkPolicy(o object) (string, error) {
	if o.name == "apikey-verifier-from-proxies" {
		return when(letsIn("proxies"), o.template()), nil
	}
	template, err := apply(o.template(), edit{"name: monitoring\n", "name: {{ .Values.monitoring.serviceAccount.namespace }}\n"})
	return when(whenNetworkOnly, template), err
}

// letsIn is the condition for a NetworkPolicy that lets a proxy in.
func letsIn(proxy string) string {
	return fmt.Sprintf("and %s (has %q .Values.networkPolicy.proxies)", whenNetworkOnly, proxy)
}

// networkPolicies adds those of config/components/network-policies.
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
		chart["templates/networkpolicies.yaml"] += when(letsIn(proxy), objects[0].template())
	}
	return nil
}

// component reads a file of config/components.
func component(path string) ([]object, error) {
	content, err := os.ReadFile(filepath.Join("config", "components", path))
	if err != nil {
		return nil, err
	}
	return parse(string(content))
}
