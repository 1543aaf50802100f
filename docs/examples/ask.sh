#!/bin/sh
# Asks the verifier, as a proxy does, whether a key may make a request: ask.sh NAMESPACE KEY METHOD URL. It prints the answer's
# status and what the upstream would be told, and fails if the request is refused. The verifier is reached through the API server,
# or where VERIFIER says. Over TLS it must be the verifier that answers: its certificate is checked by what the ConfigMap apikey-ca
# has, or the Secret of a certificate from elsewhere. The token is neither shown nor on a command line.
set -eu
namespace=$1 key=$2 method=$3 url=$4
name=apikey-verifier.apikey-system.svc
work=$(mktemp -d)
forward=
trap '[ -z "$forward" ] || kill "$forward"; rm -r "$work"' EXIT
set --
if [ -z "${VERIFIER:-}" ]; then
	kubectl rollout status -n apikey-system deployment/apikey-verifier --timeout=5m
	scheme=$(kubectl get deployment -n apikey-system apikey-verifier -o jsonpath='{.spec.template.spec.containers[0].readinessProbe.httpGet.scheme}')
	kubectl port-forward -n apikey-system service/apikey-verifier :8080 >"$work/forward" &
	forward=$!
	until port=$(sed -n 's|^Forwarding from 127.0.0.1:\([0-9]*\) .*|\1|p' "$work/forward") && [ -n "$port" ]; do
		kill -0 "$forward"
		sleep 1
	done
	VERIFIER=$(echo "$scheme" | tr '[:upper:]' '[:lower:]')://$name:$port
	set -- --resolve "$name:$port:127.0.0.1"
fi
case $VERIFIER in https:*)
	kubectl get configmap -n apikey-system apikey-ca -o 'go-template={{index .data "ca.crt"}}' >"$work/ca.crt" 2>"$work/why" ||
		kubectl get secret -n apikey-system apikey-verifier-tls -o 'go-template={{index .data "ca.crt" | base64decode}}' >"$work/ca.crt" || {
		cat "$work/why" >&2
		exit 1
	}
	set -- "$@" --cacert "$work/ca.crt"
	;;
esac
secret=$(kubectl get apikey -n "$namespace" "$key" -o jsonpath='{.status.secretName}')
umask 077
kubectl get secret -n "$namespace" "$secret" -o go-template='header = "Authorization: Bearer {{.data.token | base64decode}}"' >"$work/token"
curl --silent --show-error --fail "$@" --config "$work/token" --dump-header - --output /dev/null "$VERIFIER/auth/nginx" \
	--header "X-Original-URL: $url" --header "X-Original-Method: $method" \
	--header "X-Tenant-ID: $(kubectl get apikey -n "$namespace" "$key" -o jsonpath='{.status.tenantID}')"
