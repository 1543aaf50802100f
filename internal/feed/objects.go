package feed

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// readTenant reads the fields of a Tenant that the index needs. It skips the ledger, which is most of the object, and
// is in managedFields a second time.
func readTenant(object []byte) (runtime.Object, error) {
	tenant := &keysv1alpha1.Tenant{}
	return tenant, readMetaAndSpec(object, &tenant.ObjectMeta, &tenant.Spec)
}

// readPolicy reads the fields of an AccessPolicy that the index needs.
func readPolicy(object []byte) (runtime.Object, error) {
	policy := &keysv1alpha1.AccessPolicy{}
	return policy, readMetaAndSpec(object, &policy.ObjectMeta, &policy.Spec)
}

func readMetaAndSpec(object []byte, meta *metav1.ObjectMeta, spec any) error {
	return eachField(object, func(name string, value []byte) error {
		switch name {
		case "metadata":
			return eachField(value, func(name string, value []byte) error { return readMeta(meta, name, value) })
		case "spec":
			return json.Unmarshal(value, spec)
		}
		return nil
	})
}

// readKey reads the fields of an ApiKey that the index, the prober, acknowledgements and usage need. It skips the rest,
// above all managedFields, the conditions' messages and spec.secret.
func readKey(object []byte) (runtime.Object, error) {
	key := &keysv1alpha1.ApiKey{}
	return key, readKeyInto(object, key)
}

func readKeyInto(object []byte, key *keysv1alpha1.ApiKey) error {
	return eachField(object, func(name string, value []byte) error {
		switch name {
		case "metadata":
			return eachField(value, func(name string, value []byte) error { return readMeta(&key.ObjectMeta, name, value) })
		case "spec":
			return eachField(value, func(name string, value []byte) error { return readSpec(&key.Spec, name, value) })
		case "status":
			return eachField(value, func(name string, value []byte) error { return readStatus(&key.Status, name, value) })
		}
		return nil
	})
}

func readMeta(meta *metav1.ObjectMeta, name string, value []byte) error {
	switch name {
	case "namespace":
		return readString(value, &meta.Namespace)
	case "name":
		return readString(value, &meta.Name)
	case "resourceVersion":
		return readString(value, &meta.ResourceVersion)
	case "uid":
		return readString(value, (*string)(&meta.UID))
	case "creationTimestamp":
		return json.Unmarshal(value, &meta.CreationTimestamp)
	case "deletionTimestamp":
		return json.Unmarshal(value, &meta.DeletionTimestamp)
	case "labels":
		return json.Unmarshal(value, &meta.Labels)
	case "annotations":
		return json.Unmarshal(value, &meta.Annotations)
	}
	return nil
}

func readSpec(spec *keysv1alpha1.ApiKeySpec, name string, value []byte) error {
	switch name {
	case "state":
		return readString(value, (*string)(&spec.State))
	case "expiry":
		return readString(value, (*string)(&spec.Expiry))
	case "scopes":
		return json.Unmarshal(value, &spec.Scopes)
	case "allowedCIDRs":
		return json.Unmarshal(value, &spec.AllowedCIDRs)
	}
	return nil
}

func readStatus(status *keysv1alpha1.ApiKeyStatus, name string, value []byte) error {
	switch name {
	case "tenantID":
		return readString(value, &status.TenantID)
	case "scopes":
		return json.Unmarshal(value, &status.Scopes)
	case "allowedCIDRs":
		return json.Unmarshal(value, &status.AllowedCIDRs)
	case "issuedTime":
		return json.Unmarshal(value, &status.IssuedTime)
	case "expiresTime":
		return json.Unmarshal(value, &status.ExpiresTime)
	case "lastUsedTime":
		return json.Unmarshal(value, &status.LastUsedTime)
	case "usage":
		return json.Unmarshal(value, &status.Usage)
	case "credentials":
		return json.Unmarshal(value, &status.Credentials)
	case "conditions":
		return eachElement(value, func(element []byte) error {
			var condition metav1.Condition
			err := eachField(element, func(name string, value []byte) error {
				switch name {
				case "type":
					return readString(value, &condition.Type)
				case "status":
					return readString(value, (*string)(&condition.Status))
				case "reason":
					return readString(value, &condition.Reason)
				}
				return nil
			})
			status.Conditions = append(status.Conditions, condition)
			return err
		})
	}
	return nil
}
