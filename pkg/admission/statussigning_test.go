// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// statusSigning is a status webhook whose add-on has an SVID.
type statusSigning struct {
	*StatusHandler

	cluster  *verifytest.Cluster
	trusted  *trust.Cluster // nil: the add-on knows no authorities
	svid     *x509svid.SVID // nil: the agent does not answer
	verifier *fakeVerifier
	backend  signing.Backend
	outcomes []error
}

// GetX509SVID implements x509svid.Source.
func (s *statusSigning) GetX509SVID() (*x509svid.SVID, error) {
	if s.svid == nil {
		return nil, errors.New("the agent does not answer")
	}
	return s.svid, nil
}

func newStatusSigning(t *testing.T) *statusSigning {
	t.Helper()
	s := &statusSigning{cluster: &verifytest.Cluster{}, verifier: &fakeVerifier{result: verified()},
		backend: signing.BackendSPIRE}
	var err error
	if s.cluster, err = verifytest.NewECCluster(); err != nil {
		t.Fatal(err)
	}
	if s.cluster.CA, err = verifytest.NewCA(verifytest.TrustDomain); err != nil {
		t.Fatal(err)
	}
	if s.trusted, err = s.cluster.Trust(); err != nil {
		t.Fatal(err)
	}
	s.rotate(t)
	s.StatusHandler = newStatusHandler(s.verifier)
	s.Scope, s.Now = fakeScope{backend: signing.BackendSPIRE}, verifytest.StatusSignedAt
	s.OnSigned = func(err error) { s.outcomes = append(s.outcomes, err) }
	s.Signer = spirecluster.NewStatus(spirecluster.RegistrarOptions{
		Settings: func() settings.Settings {
			current := settings.Default()
			current.Backend, current.SPIRE.TrustDomain = s.backend, verifytest.TrustDomain
			return current
		},
		Trusted: func() *trust.Cluster { return s.trusted }, Now: verifytest.StatusSignedAt,
	}, s)
	return s
}

// rotate gives the add-on another SVID, as after a restart.
func (s *statusSigning) rotate(t *testing.T) {
	t.Helper()
	key, chain, err := s.cluster.CA.AddOnSVID()
	if err != nil {
		t.Fatal(err)
	}
	id, err := spiffeid.FromURI(chain[0].URIs[0])
	if err != nil {
		t.Fatal(err)
	}
	s.svid = &x509svid.SVID{ID: id, Certificates: chain, PrivateKey: key}
}

// write returns what is stored after a write by a user.
func (s *statusSigning) write(t *testing.T, by string, old, submitted fields) fields {
	t.Helper()
	request := statusWrite(t, old, submitted)
	request.UserInfo.Username = by
	return stored(t, s.Admit(t.Context(), request), request.Object)
}

// done is a TaskRun that has completed.
func done(change func(fields)) fields {
	return run("True", func(s fields) {
		s["completionTime"] = verifytest.StatusSignedAt().Format(time.RFC3339)
		if change != nil {
			change(s)
		}
	})
}

// complete returns a TaskRun as it is stored after Tekton's controller completed it.
func (s *statusSigning) complete(t *testing.T) fields {
	t.Helper()
	return s.write(t, tekton, run("Unknown", nil), done(nil))
}

// edit returns a copy of a TaskRun with another status.
func edit(t *testing.T, object fields, change func(status fields)) fields {
	t.Helper()
	var copied fields
	if err := json.Unmarshal(raw(t, object).Raw, &copied); err != nil {
		t.Fatal(err)
	}
	change(copied["status"].(fields))
	return copied
}

func marksIn(object fields) fields {
	annotations, _ := object["status"].(fields)["annotations"].(fields)
	return annotations
}

// wantSigned wants a signature that is good for the TaskRun as it is stored.
func (s *statusSigning) wantSigned(t *testing.T, what string, object fields) {
	t.Helper()
	if err := s.Signer.VerifyStatusInternalAnnotation(t.Context(), typed(t, object)); err != nil {
		t.Errorf("%s: the signature is not good: %v", what, err)
	}
}

func typed(t *testing.T, object fields) *v1.TaskRun {
	t.Helper()
	tr := &v1.TaskRun{}
	if err := json.Unmarshal(raw(t, object).Raw, tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

// wantUnsigned wants no signature, and no note.
func wantUnsigned(t *testing.T, what string, object fields) {
	t.Helper()
	for key := range marksIn(object) {
		if strings.HasPrefix(key, "tekton.dev/") {
			t.Errorf("%s: there is the annotation %s", what, key)
		}
	}
}

// wantChanged wants a note that the status was changed, and the verdict FAILED.
func wantChanged(t *testing.T, what string, object fields) {
	t.Helper()
	if marksIn(object)[signing.StatusNotVerified] == nil {
		t.Errorf("%s: nothing notes the change", what)
	}
	ours := ourConditions(object)
	if len(ours) != 1 || ours[0]["status"] != "False" || !strings.Contains(ours[0]["message"].(string), "status-signature") {
		t.Errorf("%s: got the conditions %v, expected FAILED status-signature", what, ours)
	}
}

func (s *statusSigning) wantVerdict(t *testing.T, object fields) {
	t.Helper()
	if ours := ourConditions(object); len(ours) != 1 || ours[0]["status"] != "True" {
		t.Errorf("got the conditions %v, expected VERIFIED", ours)
	}
}
