#!/bin/sh
# Asks the verifier, as a proxy does, whether a key may make a request: ask.sh NAMESPACE KEY METHOD URL. It prints the answer's
# status and what the upstream would be told, and fails if the request is refused. The verifier is reached through the API server,
# or where VERIFIER says. The token is neither shown nor on a command line.
set -eu
namespace=$1 key=$2 method=$3 url=$4
work=$(mktemp -d)
forward=
trap '[ -z "$forward" ] || kill "$forward"; rm -r "$work"' EXIT
if [ -z "${VERIFIER:-}" ]; then
	kubectl rollout status -n apikey-system deployment/apikey-verifier --timeout=5m
	kubectl port-forward -n apikey-system service/apikey-verifier :8080 >"$work/forward" &
	forward=$!
	until VERIFIER=$(sed -n 's|^Forwarding from 127.0.0.1:\([0-9]*\) .*|http://127.0.0.1:\1|p' "$work/forward") && [ -n "$VERIFIER" ]; do
		kill -0 "$forward"
		sleep 1
	done
fi
secret=$(kubectl get apikey -n "$namespace" "$key" -o jsonpath='{.status.secretName}')
umask 077
kubectl get secret -n "$namespace" "$secret" -o go-template='header = "Authorization: Bearer {{.data.token | base64decode}}"' >"$work/token"
curl --silent --show-error --fail --config "$work/token" --dump-header - --output /dev/null "$VERIFIER/auth/nginx" \
	--header "X-Original-URL: $url" --header "X-Original-Method: $method" \
	--header "X-Tenant-ID: $(kubectl get apikey -n "$namespace" "$key" -o jsonpath='{.status.tenantID}')"
