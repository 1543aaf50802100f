package bypass_test

import (
	"maps"
	"os"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/enclave"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

func TestMain(m *testing.M) {
	enclave.Main()
	os.Exit(m.Run())
}

// allProxies returns all proxies, including gateways.
func allProxies() map[string]proxies.Proxy {
	all := proxies.All()
	maps.Copy(all, proxies.Gateways)
	return all
}
