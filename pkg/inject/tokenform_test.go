// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// TestShortestTokens compares with the tokens that clusters sign.
func TestShortestTokens(t *testing.T) {
	rsa, err := verifytest.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	ec, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	known := map[*verifytest.Cluster]*trust.Cluster{}
	for _, c := range []*verifytest.Cluster{rsa, ec} {
		if known[c], err = c.Trust(); err != nil {
			t.Fatal(err)
		}
		token, err := c.Token(map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		want := inject.TokenForm{
			Issuer: verifytest.Issuer, KeyID: len(c.KeyID), Signature: len(token) - strings.LastIndex(token, ".") - 1,
		}
		if diff := cmp.Diff(want, inject.ShortestTokens(known[c])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.Algorithm, diff)
		}
	}
	both := *known[rsa]
	both.ServiceAccountIssuers = append(both.ServiceAccountIssuers, known[ec].ServiceAccountIssuers...)
	if got := inject.ShortestTokens(&both).Signature; got != 86 {
		t.Errorf("both keys: got a signature of %d characters, want the shorter one", got)
	}
	if got := inject.LongestTokens(&both).Signature; got != 342 {
		t.Errorf("both keys: got a signature of %d characters, want the longer one", got)
	}
	both.ServiceAccountIssuers[1].Keys[0].NotAfter = trust.At(time.Now())
	if got := inject.ShortestTokens(&both).Signature; got != 342 {
		t.Errorf("the other one is retired: got a signature of %d characters", got)
	}
	if got := inject.ShortestTokens(nil); got != (inject.TokenForm{}) {
		t.Errorf("no keys: got %+v", got)
	}
}
