// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
)

// TestNightlyIssuerChange gives the API server another first issuer, with the same key, as clusters do that move to
// a public one. What is signed from then on is VERIFIED at once, with enforcement and without, also many at a time,
// and so is what was signed before; then everything is put back, which is a change like the first.
func TestNightlyIssuerChange(t *testing.T) {
	c := open(t)
	cluster := openLab(t)
	c.enable(t)
	audited, enforced := c.namespace(t, true), c.enforced(t)
	before := c.runSigned(t, enforced, "before")
	written := c.runSigned(t, audited, "written") // where a test may write as Tekton does
	old := c.issuer(t)
	const other = "https://oidc.example/cluster"
	t.Cleanup(func() {
		if err := cluster.Restart(context.Background(), testlab.APIServer); err != nil {
			t.Error(err)
		}
	})
	for i, issuers := range [][]string{{other, old}, {old, other}} {
		var flags []string
		for _, issuer := range issuers {
			flags = append(flags, "--service-account-issuer="+issuer)
		}
		if err := cluster.Restart(t.Context(), testlab.APIServer, flags...); err != nil {
			t.Fatal(err)
		}
		if got := c.issuer(t); got != issuers[0] {
			t.Fatalf("the issuer is %s, want %s", got, issuers[0])
		}
		c.runMany(t, audited, enforced, fmt.Sprintf("change-%d", i))
		c.verify(t, "VERIFIED", 0, "taskrun/"+before.Name, "-n", enforced)
		c.touchStatus(t, written)
	}
}

// issuer returns the issuer that the API server names.
func (c *cluster) issuer(t *testing.T) string {
	t.Helper()
	var configuration struct{ Issuer string }
	if err := json.Unmarshal([]byte(c.mustKubectl(t, "get", "--raw", "/.well-known/openid-configuration")),
		&configuration); err != nil {
		t.Fatal(err)
	}
	return configuration.Issuer
}

// runMany runs TaskRuns in both namespaces at the same time, and wants each of them verified.
func (c *cluster) runMany(t *testing.T, audited, enforced, name string) {
	t.Helper()
	const many = 8
	t.Run(name, func(t *testing.T) {
		for i := range many {
			for _, ns := range []string{audited, enforced} {
				t.Run(fmt.Sprintf("%s-%d", ns, i), func(t *testing.T) {
					t.Parallel()
					tr := c.runSigned(t, ns, fmt.Sprintf("%s-%d", name, i))
					c.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", tr.Namespace)
				})
			}
		}
	})
}
