#!/bin/sh
# Prints the keys that are in force, one a line: namespace, name, UID, state, and the digest of its newest token. Nothing in it is
# secret. Keep what it prints outside of the cluster: after-restore.sh holds a cluster that was restored against it.
set -eu
kubectl get apikeys -A --field-selector 'spec.state!=Revoked' -o go-template='{{range .items}}{{if .status}}{{if .status.credentials -}}
{{.metadata.namespace}} {{.metadata.name}} {{.metadata.uid}} {{.spec.state}}{{range .status.credentials}}{{if not .validUntil}} {{.digest}}{{end}}{{end}}
{{end}}{{end}}{{end}}'
