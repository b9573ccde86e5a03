// SPDX-License-Identifier: Apache-2.0

package statushash_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/statushash"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spiretest"
)

const controllerID = "spiffe://" + spiretest.TrustDomain + "/ns/tekton-pipelines/sa/tekton-pipelines-controller"

// recorded is a TaskRun that ran on a real cluster, with every type of result.
func recorded(t *testing.T) *v1.TaskRun {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "verify", "testdata", "recorded", "types.json"))
	if err != nil {
		t.Fatal(err)
	}
	tr := &v1.TaskRun{}
	if err := json.Unmarshal(data, tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

func beta(t *testing.T, tr *v1.TaskRun) *v1beta1.TaskRun {
	t.Helper()
	converted := &v1beta1.TaskRun{}
	if err := converted.ConvertFrom(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	return converted
}

func authoritiesOf(d *spiretest.Domain) *spire.Authorities {
	var list []spire.Authority
	for _, c := range d.CA.X509Authorities() {
		list = append(list, spire.Authority{Certificate: c})
	}
	return spire.NewAuthorities(list)
}

func serveController(d *spiretest.Domain) *x509svid.SVID {
	return d.Serve(spiffeid.RequireFromString(controllerID))
}

// Tekton's own controller accepts our annotations.
func TestTektonAcceptsStatusAnnotations(t *testing.T) {
	d := spiretest.New(t)
	svid := serveController(d)
	tr := recorded(t)
	if err := statushash.Append(t.Context(), rand.Reader, tr, svid.Certificates, svid.PrivateKey); err != nil {
		t.Fatal(err)
	}
	tekton := d.Controller(t)
	if err := tekton.VerifyStatusInternalAnnotation(t.Context(), beta(t, tr), zap.NewNop().Sugar()); err != nil {
		t.Errorf("Tekton refuses the annotations: %v", err)
	}
	tr.Status.PodName = "another"
	if err := tekton.VerifyStatusInternalAnnotation(t.Context(), beta(t, tr), zap.NewNop().Sugar()); err == nil {
		t.Error("expected Tekton to refuse a status that was changed, got nothing")
	}
}

// We accept the annotations of Tekton's own controller.
func TestStatusAnnotationsOfTekton(t *testing.T) {
	d := spiretest.New(t)
	serveController(d)
	tr := recorded(t)
	theirs := beta(t, tr)
	if err := d.Controller(t).AppendStatusInternalAnnotation(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	tr.Status.Annotations = theirs.Status.Annotations
	if err := statushash.Verify(t.Context(), tr, authoritiesOf(d), controllerID, time.Now()); err != nil {
		t.Errorf("Tekton's annotations are refused: %v", err)
	}
}

func TestVerify(t *testing.T) {
	d, stranger := spiretest.New(t), spiretest.New(t)
	taskRun := d.Serve(spiretest.ID("ci", "build"))
	foreign := serveController(stranger)
	svid := serveController(d)
	sign := func(by *x509svid.SVID) func(*testing.T, *v1.TaskRun) {
		return func(t *testing.T, tr *v1.TaskRun) {
			if err := statushash.Append(t.Context(), rand.Reader, tr, by.Certificates, by.PrivateKey); err != nil {
				t.Fatal(err)
			}
		}
	}
	annotate := func(name, value string) func(*testing.T, *v1.TaskRun) {
		return func(_ *testing.T, tr *v1.TaskRun) { tr.Status.Annotations[name] = value }
	}
	for name, test := range map[string]struct {
		change func(*testing.T, *v1.TaskRun)
		at     time.Time
		want   string // part of the error; empty for none
	}{
		"untouched":         {},
		"another condition": {change: func(_ *testing.T, tr *v1.TaskRun) { tr.Status.Conditions = nil }},
		"a result": {
			change: func(_ *testing.T, tr *v1.TaskRun) { tr.Status.Results[0].Value.StringVal = "x" },
			want:   "changed after it was signed",
		},
		"a declaration": {
			change: func(_ *testing.T, tr *v1.TaskRun) { tr.Status.TaskSpec.Results = nil }, want: "changed after it was signed",
		},
		"hash and status": {change: func(t *testing.T, tr *v1.TaskRun) {
			tr.Status.PodName = "another"
			hash, err := statushash.Hash(t.Context(), tr)
			if err != nil {
				t.Fatal(err)
			}
			tr.Status.Annotations[statushash.AnnotationHash] = hash
		}, want: "the signature of the status"},
		"no hash": {
			change: annotate(statushash.AnnotationHash, ""), want: "expected the annotation tekton.dev/status-hash",
		},
		"no signature":          {change: annotate(statushash.AnnotationSignature, ""), want: "expected the annotation"},
		"no SVID":               {change: annotate(statushash.AnnotationSVID, ""), want: "expected the annotation"},
		"nonsense for an SVID":  {change: annotate(statushash.AnnotationSVID, "x"), want: "PEM"},
		"found changed before":  {change: annotate(statushash.AnnotationNotVerified, "yes"), want: "had been changed"},
		"signed by a TaskRun":   {change: sign(taskRun), want: "expected \"" + controllerID},
		"another trust root":    {change: sign(foreign), want: "SVID"},
		"before the SVID was":   {at: time.Now().Add(-48 * time.Hour), want: "SVID"},
		"after the SVID's time": {at: time.Now().Add(10 * 365 * 24 * time.Hour), want: "SVID"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := recorded(t)
			sign(svid)(t, tr)
			if test.change != nil {
				test.change(t, tr)
			}
			at := test.at
			if at.IsZero() {
				at = time.Now()
			}
			err := statushash.Verify(t.Context(), tr, authoritiesOf(d), controllerID, at)
			if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("expected an error with %q, got %v", test.want, err)
			}
		})
	}
	if err := statushash.Append(context.Background(), rand.Reader, recorded(t), []*x509.Certificate{},
		svid.PrivateKey); err == nil {
		t.Error("expected an error without a certificate, got none")
	}
}
