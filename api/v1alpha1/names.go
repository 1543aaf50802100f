package v1alpha1

const (
	// RotateAtAnnotation requests one rotation now, whenever its value is one that has not been handled yet.
	RotateAtAnnotation = GroupName + "/rotateAt"

	// CanaryLabel marks the one ApiKey that verifiers prove their freshness through. Nothing is minted for it.
	CanaryLabel = GroupName + "/canary"

	// CanaryName is the canary's name, in the namespace that the controller and the verifiers run in.
	CanaryName = "verifier-canary"

	// ProbeAnnotationPrefix followed by a verifier's name is the annotation on the canary that this verifier owns.
	ProbeAnnotationPrefix = "probe." + GroupName + "/"

	// SealAnnotation is the controller's annotation on the canary. Its value is the canary's UID. Replacing the whole
	// canary removes it, and perhaps also verifiers' records. So without it, a verifier's record may be missing.
	SealAnnotation = GroupName + "/sealed"

	// ManagedByLabel and ManagedByValue mark every Secret that the controller publishes, so that it watches no others.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	// ManagedByValue is the value of ManagedByLabel.
	ManagedByValue = "apikey-operator"

	// RootLabel marks the Secrets that hold root keys. Its value is the root's number.
	RootLabel = GroupName + "/root"

	// CertificateLabel marks the Secrets and the ConfigMap of the certificates that the controller signs itself. Its value
	// is authority, serving or bundle.
	CertificateLabel = GroupName + "/certificate"
)
