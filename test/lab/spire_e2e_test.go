// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package lab

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
)

// restricted is a namespace with the strictest Pod Security level.
const restricted = "svid-restricted"

// checkSPIRE has a pod fetch an SVID, and leaves it running with its volume: whoever takes the lab down comes next.
func checkSPIRE(ctx context.Context, t *testing.T, l *Lab) {
	t.Helper()
	d, err := l.AddSPIRE(ctx, SPIREOptions{})
	must(t, err)
	makeRestricted(ctx, t, l)
	entry := podEntry()
	entry.ID, err = d.Server.CreateEntry(ctx, entry)
	must(t, err)
	again, err := d.Server.CreateEntry(ctx, podEntry())
	must(t, err)
	if again != entry.ID {
		t.Errorf("the same entry again: expected %s, got %s", entry.ID, again)
	}
	checkEntries(ctx, t, d, entry)
	checkSVID(ctx, t, d, entry.SPIFFEID, 1)

	must(t, d.Server.Restart(ctx)) // keeps entries and authorities
	must(t, d.Agent.Restart(ctx))
	checkEntries(ctx, t, d, entry)
	checkSVID(ctx, t, d, entry.SPIFFEID, 1)

	_, err = l.AddSPIRE(ctx, SPIREOptions{Config: spire.Short})
	if err == nil || !strings.Contains(err.Error(), "run `bin/lab remove spire`") {
		t.Errorf("add with another configuration: expected what to do first, got %v", err)
	}
	checkRemoval(ctx, t, l, d)
}

func podEntry() spire.Entry {
	return spire.Entry{
		SPIFFEID: spiffeid.RequireFromPath(spire.TrustDomain(), "/ns/"+restricted+"/pod"), Parent: spire.NodeAlias(),
		Selectors: []string{"k8s:ns:" + restricted, "k8s:sa:default"}, TTL: 20 * time.Minute, Hint: "test",
	}
}

func makeRestricted(ctx context.Context, t *testing.T, l *Lab) {
	t.Helper()
	_, err := l.kubectl(ctx, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"`+restricted+`",
		"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`, "apply", "--filename=-")
	must(t, err)
	must(t, poll(ctx, "the account of "+restricted, func(ctx context.Context) error {
		_, err := l.kubectl(ctx, "", "--namespace", restricted, "get", "serviceaccount", "default")
		return err
	}))
}

func checkEntries(ctx context.Context, t *testing.T, d *spire.Deployment, more ...spire.Entry) {
	t.Helper()
	got, err := d.Server.Entries(ctx)
	must(t, err)
	want := append(spire.AdminEntries(), more...)
	for i := range want {
		if want[i].Node {
			want[i].Parent = d.Server.ID()
		}
	}
	options := cmp.Options{
		cmpopts.SortSlices(func(a, b spire.Entry) bool { return a.SPIFFEID.String() < b.SPIFFEID.String() }),
		cmpopts.IgnoreFields(spire.Entry{}, "ID"),
		cmp.Comparer(func(a, b spiffeid.ID) bool { return a == b }),
	}
	if diff := cmp.Diff(want, got, options); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// checkSVID fetches an SVID whose chain has a number of certificates and verifies with the published bundle.
func checkSVID(ctx context.Context, t *testing.T, d *spire.Deployment, want spiffeid.ID, certificates int) {
	t.Helper()
	fetched, err := d.Fetch(ctx, restricted, "default")
	must(t, err)
	published, err := d.Server.PublishedBundle(ctx)
	must(t, err)
	id, err := fetched.ID(published)
	if err != nil || id != want {
		t.Errorf("SVID: expected %s, which verifies with the ConfigMap %s, got %s, %v", want, d.Server.ConfigMap, id, err)
	}
	if len(fetched.Chain) != certificates {
		t.Errorf("chain: expected %d certificates, got %d", certificates, len(fetched.Chain))
	}
	bundle, err := d.Server.Bundle(ctx)
	must(t, err)
	if !bundle.X509Bundle().Equal(published) {
		t.Errorf("bundle in the ConfigMap: expected the server's %v, got %v",
			bundle.X509Authorities(), published.X509Authorities())
	}
}

// checkRemoval leaves a pod with a volume behind, which keeps SPIRE from being removed.
func checkRemoval(ctx context.Context, t *testing.T, l *Lab, d *spire.Deployment) {
	t.Helper()
	fetched, err := d.FetchAndStay(ctx, restricted, "default", time.Hour)
	must(t, err)
	err = l.Remove(ctx, SPIRE)
	if err == nil || !strings.Contains(err.Error(), fetched.Pod) {
		t.Errorf("remove with a volume in use: expected an error with the pod %s, got %v", fetched.Pod, err)
	}
	if mounts := inside(ctx, t, l, "cat", "/proc/self/mountinfo"); !strings.Contains(mounts, "kubernetes.io~csi") {
		t.Errorf("mounts inside: expected one of the driver, got:\n%s", mounts)
	}
	if mounts := read(t, "/proc/self/mountinfo"); strings.Contains(mounts, "kubernetes.io~csi") {
		t.Errorf("mounts of the host: expected none of the driver, got:\n%s", mounts)
	}
}

// checkSPIREGone removes a SPIRE that nothing uses.
func checkSPIREGone(ctx context.Context, t *testing.T, l *Lab) {
	t.Helper()
	must(t, l.Remove(ctx, SPIRE))
	if _, err := l.SPIRE(ctx); err == nil || !strings.Contains(err.Error(), "bin/lab add spire") {
		t.Errorf("after removal: expected what to do, got %v", err)
	}
	if _, err := os.Stat(l.spireData()); !os.IsNotExist(err) {
		t.Errorf("data of SPIRE: expected none, got %v", err)
	}
	out, err := l.kubectl(ctx, "", "get", "namespace,csidriver,crd,clusterrole,validatingwebhookconfiguration",
		"--output=name")
	must(t, err)
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "spire") || strings.Contains(line, "spiffe") {
			t.Errorf("left by SPIRE: %s", strings.TrimSpace(line))
		}
	}
}
