// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// statusSigning is a registrar that signs statuses, with what the add-on has seen of its trust domain.
type statusSigning struct {
	*Registrar

	settings *current
	trusted  *trust.Cluster
	now      time.Time
}

func newStatusSigning() *statusSigning {
	s := &statusSigning{settings: &current{}, now: time.Now()}
	s.settings.set(signing.BackendSPIRE, nil)
	s.Registrar = NewRegistrar(RegistrarOptions{
		Settings: s.settings.get, OnChange: func() {}, Trusted: func() *trust.Cluster { return s.trusted },
		Now: func() time.Time { return s.now }, Log: zap.NewNop().Sugar(),
	})
	return s
}

// know makes the add-on know what the agent serves now.
func (s *statusSigning) know() {
	s.trusted = &trust.Cluster{UID: "u"}
	s.Trust(s.trusted)
}

// has gives the add-on an SVID.
func (s *statusSigning) has(t *testing.T, a *authority, path string) {
	t.Helper()
	s.identity.OnX509ContextUpdate(&workloadapi.X509Context{
		SVIDs: []*x509svid.SVID{a.svid(t, path)}, Bundles: x509bundle.NewSet(a.bundle()),
	})
}

func (s *statusSigning) completed() *v1.TaskRun {
	tr := &v1.TaskRun{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "build", UID: "u"}}
	at := metav1.NewTime(s.now)
	tr.Status.CompletionTime, tr.Status.PodName = &at, "build-pod"
	return tr
}

// TestStatus signs with the add-on's SVID, and verifies also after another SVID and another authority.
func TestStatus(t *testing.T) {
	s, first := newStatusSigning(), newAuthority(t, testDomain)
	client := s.Status()
	if err := client.AppendStatusInternalAnnotation(t.Context(), s.completed()); !errors.Is(err, errNoAgent) {
		t.Errorf("before the agent answered: got %v", err)
	}
	s.has(t, first, adminPath)
	tr := s.completed()
	if err := client.AppendStatusInternalAnnotation(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	if err := client.VerifyStatusInternalAnnotation(t.Context(), tr); !errors.Is(err, cluster.ErrStatusUndecided) {
		t.Errorf("before any authority is known: got %v", err)
	}
	s.know()
	good := func(what string) {
		t.Helper()
		if err := client.VerifyStatusInternalAnnotation(t.Context(), tr); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	good("signed")
	s.has(t, first, adminPath)
	good("with another SVID")
	history := s.trusted
	s.trusted = &trust.Cluster{UID: "u", TrustDomain: testDomain}
	if err := client.VerifyStatusInternalAnnotation(t.Context(), tr); !errors.Is(err, cluster.ErrStatusUndecided) {
		t.Errorf("with an authority that is not known: got %v", err)
	}
	s.has(t, newAuthority(t, testDomain), adminPath)
	s.know()
	both := *history
	both.Domains = append([]trust.Domain{}, history.Domains...)
	both.Domains[0].X509Authorities = append(both.Domains[0].X509Authorities, s.trusted.Domains[0].X509Authorities...)
	s.trusted = &both
	good("with the history of both authorities")
	s.settings.set(signing.BackendOIDCSAToken, nil)
	good("after a switch to another backend")
}

// TestStatusRefuted refuses what does not vouch for the status.
func TestStatusRefuted(t *testing.T) {
	s := newStatusSigning()
	s.has(t, newAuthority(t, testDomain), adminPath)
	s.know()
	client := s.Status()
	for name, tc := range map[string]struct {
		change func(*v1.TaskRun)
		want   string
	}{
		"a status that was changed": {func(tr *v1.TaskRun) { tr.Status.PodName = "x" }, "changed after it was signed"},
		"a note": {func(tr *v1.TaskRun) { tr.Status.Annotations[signing.StatusNotVerified] = "no" },
			"had been changed"},
		"a note alone": {func(tr *v1.TaskRun) {
			tr.Status.Annotations = map[string]string{signing.StatusNotVerified: ""}
		}, "had been changed"},
		"half of a signature": {func(tr *v1.TaskRun) { delete(tr.Status.Annotations, signing.StatusSignature) },
			"only some of them"},
		"messages that are gone": {func(tr *v1.TaskRun) { tr.Status.Conditions = nil; tr.Status.PodName = "" },
			"changed after it was signed"},
	} {
		tr := s.completed()
		if err := client.AppendStatusInternalAnnotation(t.Context(), tr); err != nil {
			t.Fatal(err)
		}
		tc.change(tr)
		err := client.VerifyStatusInternalAnnotation(t.Context(), tr)
		var refuted *cluster.StatusRefutedError
		if !errors.As(err, &refuted) || refuted.Check.ID != check.StatusSignature || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: expected a refutation with %q, got %v", name, tc.want, err)
		}
	}
	err := client.VerifyStatusInternalAnnotation(t.Context(), s.completed())
	if !errors.Is(err, cluster.ErrStatusUnsigned) {
		t.Errorf("no annotations: got %v", err)
	}
	if !client.CheckSpireVerifiedFlag(s.completed()) {
		t.Error("a TaskRun without the note counts as changed")
	}
}

// TestStatusReaderOnce makes a reader once for what is known, also while nothing is.
func TestStatusReaderOnce(t *testing.T) {
	s := newStatusSigning()
	for _, known := range []*trust.Cluster{nil, {UID: "u", TrustDomain: testDomain}} {
		s.trusted = known
		first, err := s.status.current()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := s.status.current(); err != nil || again != first {
			t.Errorf("%v: got another reader, %v", known, err)
		}
	}
}

// TestStatusNotSigned signs nothing with an identity that no verifier accepts, or after its end.
func TestStatusNotSigned(t *testing.T) {
	s, a := newStatusSigning(), newAuthority(t, testDomain)
	for path, want := range map[string]string{
		adminPath: "", "/ns/tekton-sign/sa/controller": "", "/ns/ci/taskrun/build": "register the add-on with that ID",
		"/other": "register the add-on with that ID",
	} {
		s.has(t, a, path)
		tr := s.completed()
		err := s.Status().AppendStatusInternalAnnotation(t.Context(), tr)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) ||
			(len(tr.Status.Annotations) == 3) != (want == "") {
			t.Errorf("%s: got %v, %d annotations", path, err, len(tr.Status.Annotations))
		}
	}
	s.has(t, newAuthority(t, "other.test"), adminPath)
	if err := s.Status().AppendStatusInternalAnnotation(t.Context(), s.completed()); err == nil {
		t.Error("signed with an SVID of another trust domain")
	}
	s.has(t, a, adminPath)
	right := s.now
	for _, off := range []time.Duration{48 * time.Hour, -time.Hour} {
		s.now = right.Add(off)
		if err := s.Status().AppendStatusInternalAnnotation(t.Context(), s.completed()); err == nil ||
			!strings.Contains(err.Error(), "check the clock and SPIRE's agent") {
			t.Errorf("with an SVID that is not valid at %s: got %v", off, err)
		}
	}
	s.now = right
	s.settings.set(signing.BackendOIDCSAToken, nil)
	tr := s.completed()
	if err := s.Status().AppendStatusInternalAnnotation(t.Context(), tr); err != nil || tr.Status.Annotations != nil {
		t.Errorf("with another backend: got %v, %v", tr.Status.Annotations, err)
	}
}
