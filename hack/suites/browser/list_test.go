package browser_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// firstPage is the most that the first page and everything that it loads may transfer, in bytes.
const firstPage = 100 * 1000

// apply applies an object.
func (e *environment) apply(t *testing.T, manifest string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "object.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	e.kubectl(t, "apply", "-f", path)
}

// lists checks the page's content: the tenant, with buttons that copy, and the keys with their columns. It must load
// quickly.
func (e *environment) lists(t *testing.T) {
	s := e.open(t, wide, light)
	s.signIn(e.alice, warehouse)
	s.reads("Acme Ltd", acmeID, "https://your-nexuscommerce.com/api", "2 of 20")
	for _, column := range []string{"Name", "Prefix", "Scopes", "Created", "Last used", "Expires", "State"} {
		s.wait("column "+column, func() error {
			if found, err := s.look("columnheader", column); err != nil || len(found) == 0 {
				return fmt.Errorf("there is none: %w", err)
			}
			return nil
		})
	}
	storefront := e.key(t, warehouse, "storefront")
	s.row("storefront", "Storefront", storefront.Status.Prefix, "products:read", "Never", "Active")
	s.row("warehouse-integration", "Warehouse Integration", "inventory:write", "Active")
	s.state("list")

	if got := s.copied("Copy tenant ID"); got != acmeID {
		t.Errorf("copied %q", got)
	}
	if got := s.copied("Copy API base URL"); got != "https://your-nexuscommerce.com/api" {
		t.Errorf("copied %q", got)
	}

	cold := e.open(t, wide, light)
	cold.open("/login")
	if got := cold.record.bytes(); got > firstPage {
		t.Errorf("the log-in form takes %d bytes", got)
	}
	cold.signIn(e.alice, warehouse)
	cold.row("storefront", "Storefront")
	got := cold.record.bytes()
	t.Logf("from the log-in form to the list: %d bytes", got)
	if got > firstPage {
		t.Errorf("from the log-in form to the list: %d bytes", got)
	}
}

// follows creates, uses, changes and deletes keys from elsewhere, and checks that each change appears without a reload.
func (e *environment) follows(t *testing.T) {
	s := e.openSignedIn(t, e.alice, warehouse)
	s.eval(`() => { window.same = true }`)
	e.apply(t, `{apiVersion: keys.nexuscommerce.io/v1alpha1, kind: ApiKey, metadata: {namespace: warehouse,
	  name: elsewhere},
		spec: {displayName: Made Elsewhere, scopes: ["products:read"]}}`)
	s.row("elsewhere", "Made Elsewhere", "Active", "Never")
	token := e.token(t, warehouse, "elsewhere")
	e.calls(t, token, acmeID, http.MethodGet, "/api/products", http.StatusOK)
	e.usedKey(t, "elsewhere")
	s.wait("when it was used", func() error {
		cells := s.cells("elsewhere")
		if used := cells["Last used"]; used == "" || strings.Contains(used, "Never") {
			return fmt.Errorf("last used: %q", used)
		}
		return nil
	})
	e.kubectl(t, "patch", "apikey", "-n", warehouse, "elsewhere", "--type=merge", "-p",
		`{"spec":{"displayName":"Renamed Elsewhere"}}`)
	s.row("elsewhere", "Renamed Elsewhere")
	before := e.key(t, warehouse, "elsewhere").Status.Prefix
	e.kubectl(t, "annotate", "apikey", "-n", warehouse, "elsewhere", keysv1alpha1.RotateAtAnnotation+"=now")
	e.until(t, "the rotation", func() bool { return e.key(t, warehouse, "elsewhere").Status.Prefix != before })
	s.row("elsewhere", e.key(t, warehouse, "elsewhere").Status.Prefix)
	e.kubectl(t, "patch", "apikey", "-n", warehouse, "elsewhere", "--type=merge", "-p", `{"spec":{"state":"Revoked"}}`)
	s.row("elsewhere", "Revoked")
	e.kubectl(t, "delete", "apikey", "-n", warehouse, "elsewhere")
	s.wait("the row to go", func() error { return s.rowIsGone("elsewhere") })
	e.kubectl(t, "patch", "tenant", "acme", "--type=merge", "-p", `{"spec":{"maxKeys":25}}`)
	s.reads("of 25")
	e.kubectl(t, "patch", "tenant", "acme", "--type=merge", "-p", `{"spec":{"maxKeys":20}}`)
	if !s.eval(`() => window.same === true`).Bool() {
		t.Error("the page was loaded anew")
	}
	s.keepSource("after what others did")
}

// rowIsGone returns an error while a key is in the table.
func (s *browserSession) rowIsGone(name string) error {
	if names := s.names(); slices.Contains(names, name) {
		return fmt.Errorf("there are %q", names)
	}
	return nil
}

// cells returns a key's cells, by the head of their column.
func (s *browserSession) cells(name string) map[string]string {
	s.t.Helper()
	found := s.eval(`name => {
		const row = document.querySelector("tr[data-name='" + name + "']"), heads = [...row.closest("table")
		  .tHead.rows[0].cells].map(c => c.innerText.trim());
		return JSON.stringify(Object.fromEntries([...row.cells].map((cell, i) => [heads[i], cell.innerText.trim()])));
	}`, name).Str()
	cells := map[string]string{}
	if err := json.Unmarshal([]byte(found), &cells); err != nil {
		s.t.Fatal(err)
	}
	return cells
}

// finds sorts the table by each column, searches it, and filters it by state.
func (e *environment) finds(t *testing.T) {
	s := e.openSignedIn(t, e.alice, warehouse)
	s.row("order-desk", "Active")
	s.row("storefront", "Active")
	all := s.names()
	for _, column := range []string{"Name", "Prefix", "Scopes", "Created", "Last used", "Expires", "State"} {
		s.sortBy(column)
		up := s.names()
		s.sortBy(column)
		down := s.names()
		values := map[string]bool{}
		for _, name := range up {
			value, _, _ := strings.Cut(s.cells(name)[column], "\n") // Not sorted by the second line.
			values[value] = true
		}
		if len(values) > 1 && slices.Equal(up, down) || len(up) != len(all) || len(down) != len(all) {
			t.Errorf("by %s: %q, then %q", column, up, down)
		}
	}
	s.sortBy("Name")
	byName := s.names()
	texts := make([]string, len(byName))
	for i, name := range byName {
		texts[i] = strings.ToLower(s.cells(name)["Name"])
	}
	if !slices.IsSorted(texts) {
		t.Errorf("by name: %q", texts)
	}

	s.fill("searchbox", "Search keys", "integration")
	s.shows("warehouse-integration")
	s.fill("searchbox", "Search keys", "INVENTORY:WRITE") // Searching for a scope ignores case.
	s.reads("of ")
	s.row("warehouse-integration")
	s.fill("searchbox", "Search keys", e.key(t, warehouse, "storefront").Status.Prefix)
	s.shows("storefront")
	s.fill("searchbox", "Search keys", "no such key anywhere")
	s.find("heading", "No key matches")
	s.state("no-match")
	s.click("button", "Clear search and filter")
	s.wait("all keys", func() error {
		if now := s.names(); len(now) != len(all) {
			return fmt.Errorf("there are %q", now)
		}
		return nil
	})
	s.choose("State", "Suspended")
	s.find("heading", "No key matches")
	s.choose("State", "Active")
	s.row("storefront", "Active")
	s.state("filtered")
	s.choose("State", "All states")
}

// sortBy clicks on the head of a column, and waits until the head says that the table is sorted by it.
func (s *browserSession) sortBy(column string) {
	s.t.Helper()
	sorted := func() string {
		return s.eval(
			`column => [...document.querySelectorAll("th")].find(th =>
			  th.innerText.trim() === column)?.getAttribute("aria-sort") ?? ""`, column).Str()
	}
	before := sorted()
	s.click("button", column)
	s.wait("sorted by "+column, func() error {
		if now := sorted(); now == before || now != "ascending" && now != "descending" {
			return fmt.Errorf("aria-sort is %q", now)
		}
		return nil
	})
}

// outlivesTheAPIServer cuts the connection to the API server while the page is open, and restores it. Meanwhile the
// page marks its content as outdated.
func (e *environment) outlivesTheAPIServer(t *testing.T) {
	s := e.openSignedIn(t, e.alice, warehouse)
	s.row("storefront", "Active")
	s.expected = append(s.expected, "network: ")
	e.relay.cut()
	s.reads("The API server can't be reached")
	s.row("storefront", "Storefront")
	s.state("api-server-away")
	e.relay.restore(t)
	s.wait("the banner to go", func() error {
		if strings.Contains(s.text(), "can't be reached") {
			return fmt.Errorf("it is still there")
		}
		return nil
	})
	e.kubectl(t, "patch", "apikey", "-n", warehouse, "storefront", "--type=merge", "-p",
		`{"spec":{"displayName":"Storefront II"}}`)
	s.row("storefront", "Storefront II")
	s.keepSource("the API server is back")
}

// takesMany shows 2,000 keys: copies of one. The controller, which would reconcile them, has been stopped.
func (e *environment) takesMany(t *testing.T) {
	const many = 2000
	e.Controller.Kill()
	template := e.key(t, warehouse, "storefront")
	namespace := fixture.Name("many")
	if err := e.Client.Create(t.Context(), fixture.Namespace(namespace, "acme")); err != nil {
		t.Fatal(err)
	}
	err := e.Seed(t.Context(), client.ObjectKeyFromObject(template), many, func(i int) (client.ObjectKey, []string) {
		name := fmt.Sprintf("key-%04d", i)
		return client.ObjectKey{Namespace: namespace, Name: name}, []string{
			`"name":"storefront"`, fmt.Sprintf(`"name":%q`, name), `"namespace":"warehouse"`,
			fmt.Sprintf(`"namespace":%q`, namespace),
			string(template.UID), fixture.UUID(), `"displayName":"Storefront II"`, fmt.Sprintf(`"displayName":"Key %d"`, i),
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	e.kubectl(t, "create", "rolebinding", "-n", namespace, "administrators", "--clusterrole=admin", "--user="+e.alice.name)
	s := e.openSignedIn(t, e.alice, namespace)
	s.reads("2,000 keys")
	s.row("key-1999")
	s.screenshot("2000-keys")
	s.fill("searchbox", "Search keys", "key 1234")
	s.shows("key-1234")
	s.reads("1 of 2,000")
	s.state("2000-keys-searched")
	e.kubectl(t, "patch", "apikey", "-n", namespace, "key-1234", "--type=merge", "-p", `{"spec":{"state":"Suspended"}}`)
	s.row("key-1234", "Suspended")
	s.fill("searchbox", "Search keys", "")
	s.sortBy("Name")
	s.reads("2,000 keys")
	s.choose("State", "Suspended")
	s.shows("key-1234")
	took := s.eval(`async () => {
		const begin = performance.now(), list = document.querySelector("input[type=search]");
		list.value = "key 1"; list.dispatchEvent(new Event("input", {bubbles: true}));
		await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
		return performance.now() - begin;
	}`).Num()
	t.Logf("searching among 2,000 keys: %.0f ms until it is drawn", took)
}
