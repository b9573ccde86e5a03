// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
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
		if diff := cmp.Diff(want, shortestTokens(known[c])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.Algorithm, diff)
		}
	}
	both := *known[rsa]
	both.ServiceAccountIssuers = append(both.ServiceAccountIssuers, known[ec].ServiceAccountIssuers...)
	if got := shortestTokens(&both).Signature; got != 86 {
		t.Errorf("both keys: got a signature of %d characters, want the shorter one", got)
	}
	both.ServiceAccountIssuers[1].Keys[0].NotAfter = trust.At(time.Now())
	if got := shortestTokens(&both).Signature; got != 342 {
		t.Errorf("the other one is retired: got a signature of %d characters", got)
	}
	if got := shortestTokens(nil); got != (inject.TokenForm{}) {
		t.Errorf("no keys: got %+v", got)
	}
}

// TestTrialPod: the keeper tries pods with everything that the backend adds to those of TaskRuns, so that a policy
// against any of it is found.
func TestTrialPod(t *testing.T) {
	k := &keeper{common: &common{signerImage: "reg.example/signer:v1", api: apiServer{
		address: "https://api.example:443", caData: []byte(certificatePEM("ca")),
	}}}
	s := settings.Default()
	s.Backend = signing.BackendSPIRE
	pod, err := k.inject(inject.Model("ci", "reg.example/entrypoint:v1"), settings.DeliveryImage, s)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range delivery.NodeVolumes(pod) {
		got = append(got, m.Driver)
	}
	if diff := cmp.Diff(backends.Of(s.Backend).Drivers(), got); diff != "" {
		t.Errorf("CSI drivers (-want +got):\n%s", diff)
	}
}
