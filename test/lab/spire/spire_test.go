// SPDX-License-Identifier: Apache-2.0

package spire

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func settings(config string) Settings {
	return Settings{Config: config, KeyType: "ec-p256", Images: Images{
		Server: "server", Agent: "agent", CSIDriver: "driver",
		Registrar: "registrar", ControllerManager: "manager"},
		Authority: Authority{Certificate: []byte("certificate"), Key: []byte("key"), Root: []byte("root")}}
}

// TestManifests compares what differs between the configurations: the list of objects, and the servers' files.
func TestManifests(t *testing.T) {
	var all strings.Builder
	for _, config := range Configs() {
		s := settings(config)
		s.ControllerManager = config == Plain
		servers, err := ServerManifests(s)
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := NodeManifests(s)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("==== " + config + "\n")
		for _, object := range append(servers, nodes...) {
			all.WriteString(describe(object))
		}
	}
	if *update {
		if err := os.WriteFile("testdata/manifests.txt", []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/manifests.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Errorf("manifests (-want +got):\n%s", diff)
	}
}

func describe(object *unstructured.Unstructured) string {
	text := object.GetKind() + " " + object.GetName() + "\n"
	data, _, _ := unstructured.NestedStringMap(object.Object, "data")
	for _, name := range []string{"server.conf", "agent.conf", "tls.crt"} {
		if content, ok := data[name]; ok {
			text += "  " + strings.ReplaceAll(strings.TrimSpace(content), "\n", "\n  ") + "\n"
		}
	}
	containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		if container, ok := c.(map[string]any); ok {
			text += "  container of " + container["image"].(string) + "\n"
		}
	}
	return text
}

func TestSettingsCheck(t *testing.T) {
	for name, c := range map[string]struct {
		settings Settings
		want     string
	}{
		"known": {settings(Short), ""},
		"configuration": {
			Settings{Config: "x", KeyType: "ec-p256"}, `configuration "x" of SPIRE: expected one of [plain upstream`,
		},
		"type of key": {Settings{Config: Plain, KeyType: "dsa"}, `type of key "dsa": expected one of [ec-p256 rsa-2048`},
	} {
		err := c.settings.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: expected %q, got %v", name, c.want, err)
		}
	}
}

func TestCRDsOfAnotherModule(t *testing.T) {
	if _, err := CRDs(fstest.MapFS{}); err == nil || !strings.Contains(err.Error(), "clusterspiffeids") {
		t.Errorf("expected an error with the missing file, got %v", err)
	}
}

// fake answers a command of kubectl whose arguments contain a text.
type fake struct {
	answers map[string]string
	calls   []string
	err     error
}

func (f *fake) run(_ context.Context, _ string, args ...string) ([]byte, error) {
	line := strings.Join(args, " ")
	f.calls = append(f.calls, line)
	for text, answer := range f.answers {
		if strings.Contains(line, text) {
			return []byte(answer), nil
		}
	}
	return nil, f.err
}

func deployment(f *fake, config string) *Deployment {
	return NewDeployment(f.run, netip.MustParseAddr("198.18.0.2"), config)
}

func TestAddresses(t *testing.T) {
	d := deployment(&fake{}, Federated)
	got := []string{
		d.Server.Address, d.Server.BundleEndpoint, d.Foreign.Address, d.Foreign.BundleEndpoint, d.Foreign.ID().String(),
	}
	want := []string{"198.18.0.2:8081", "https://198.18.0.2:8443", "198.18.0.2:8091", "https://198.18.0.2:8453",
		"spiffe://foreign.test/spire/server"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if plain := deployment(&fake{}, Plain); plain.Foreign != nil {
		t.Errorf("plain: expected one server, got %v too", plain.Foreign)
	}
}

const listed = `{"entries":[{"id":"one","spiffe_id":{"trust_domain":"lab.test","path":"/a"},"admin":true,"hint":"h",
	"parent_id":{"trust_domain":"lab.test","path":"/tekton-sign/nodes"},"x509_svid_ttl":60,"expires_at":"1700000000",
	"selectors":[{"type":"k8s","value":"ns:a"},{"type":"k8s","value":"sa:b"}],"federates_with":["foreign.test"]}]}`

func entry() Entry {
	return Entry{
		ID: "one", SPIFFEID: spiffeid.RequireFromPath(TrustDomain(), "/a"), Parent: NodeAlias(), Admin: true, Hint: "h",
		Selectors: []string{"k8s:ns:a", "k8s:sa:b"}, TTL: time.Minute, ExpiresAt: time.Unix(1700000000, 0),
		FederatesWith: []spiffeid.TrustDomain{ForeignTrustDomain()}}
}

func TestEntries(t *testing.T) {
	f := &fake{answers: map[string]string{"entry show": listed}}
	got, err := deployment(f, Plain).Server.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := cmpopts.EquateComparable(spiffeid.ID{}, spiffeid.TrustDomain{})
	if diff := cmp.Diff([]Entry{entry()}, got, ids); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestCreateEntry(t *testing.T) {
	const command = "--namespace spire exec --stdin spire-server-0 --container=spire-server -- " +
		"/opt/spire/bin/spire-server " +
		"entry create -output json -spiffeID spiffe://lab.test/a -parentID spiffe://lab.test/tekton-sign/nodes " +
		"-selector k8s:ns:a -selector k8s:sa:b -federatesWith spiffe://foreign.test -admin -entryID one -x509SVIDTTL 60 " +
		"-entryExpiry 1700000000 -hint h"
	for name, c := range map[string]struct {
		answer, id, err string
	}{
		"new":     {`{"results":[{"status":{"code":0},"entry":{"id":"one"}}]}`, "one", ""},
		"similar": {`{"results":[{"status":{"code":6},"entry":{}}]}`, "one", ""},
		"refused": {
			`{"results":[{"status":{"code":3,"message":"no such parent"}}]}`, "", "spiffe://lab.test/a: no such parent",
		},
		"none":     {`{"results":[]}`, "", "expected one result"},
		"not JSON": {`failed`, "", "create the entry of spiffe://lab.test/a: invalid character"},
	} {
		f := &fake{answers: map[string]string{"entry create": c.answer, "entry show": listed}}
		id, err := deployment(f, Plain).Server.CreateEntry(t.Context(), entry())
		if id != c.id || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: expected %q, %q, got %q, %v", name, c.id, c.err, id, err)
		}
		if f.calls[0] != command {
			t.Errorf("%s: expected the command\n%s\ngot\n%s", name, command, f.calls[0])
		}
	}
}

func TestWorkload(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(context.Context, *Deployment) error
		want []string
	}{
		"stop the server": {func(ctx context.Context, d *Deployment) error { return d.Server.Stop(ctx) }, []string{
			"scale statefulset/spire-server --replicas=0", "wait pod --selector=app=spire-server --for=delete --timeout=120s"}},
		"start the agent": {func(ctx context.Context, d *Deployment) error { return d.Agent.Start(ctx) }, []string{
			`patch daemonset/spire-agent --type=merge --patch={"spec":{"template":{"spec":{"nodeSelector":null}}}}`,
			"rollout status daemonset/spire-agent --timeout=120s"}},
		"restart the driver": {func(ctx context.Context, d *Deployment) error { return d.CSIDriver.Restart(ctx) }, []string{
			"rollout restart daemonset/spiffe-csi-driver", "rollout status daemonset/spiffe-csi-driver --timeout=120s"}},
	} {
		f := &fake{}
		if err := c.do(t.Context(), deployment(f, Plain)); err != nil {
			t.Errorf("%s: expected no error, got %v", name, err)
		}
		for i := range c.want {
			c.want[i] = "--namespace spire " + c.want[i]
		}
		if diff := cmp.Diff(c.want, f.calls); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestFailedStartShowsLog(t *testing.T) {
	f := &fake{answers: map[string]string{"logs": "no such trust domain"}, err: errors.New("timed out")}
	err := deployment(f, Plain).Agent.Await(t.Context())
	if err == nil || !strings.Contains(err.Error(), "timed out") ||
		!strings.Contains(err.Error(), "no such trust domain") {
		t.Errorf("expected the error and the log, got %v", err)
	}
}
