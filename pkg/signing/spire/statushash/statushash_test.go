// SPDX-License-Identifier: Apache-2.0

package statushash_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
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

func serveController(d *spiretest.Domain) *x509svid.SVID {
	return d.Serve(spiffeid.RequireFromString(controllerID))
}

// Tekton's own controller accepts our hash of form v1.
func TestTektonAcceptsHash(t *testing.T) {
	d := spiretest.New(t)
	svid := serveController(d)
	tr := recorded(t)
	hash, err := statushash.Hash(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signing.SignLegacyValue(rand.Reader, svid.PrivateKey, hash)
	if err != nil {
		t.Fatal(err)
	}
	tr.Status.Annotations = map[string]string{
		signing.StatusHash: hash, signing.StatusSignature: signature,
		signing.StatusCertificates: spire.FormatLegacy(svid.Certificates[0]),
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

// check parses the annotations of a status and checks the signature and the hash.
func check(t *testing.T, tr *v1.TaskRun) (statushash.Form, error) {
	t.Helper()
	s, err := statushash.Parse(tr.Status.Annotations)
	if err != nil {
		return "", err
	}
	if err := s.CheckSignature(); err != nil {
		return s.Form, err
	}
	return s.Form, s.CheckStatus(t.Context(), tr)
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
	if form, err := check(t, tr); form != statushash.FormV1 || err != nil {
		t.Errorf("Tekton's annotations are refused: form %q, %v", form, err)
	}
	tr.Status.TaskSpec = nil
	if _, err := check(t, tr); err == nil {
		t.Error("expected an error for a status that was changed, got none")
	}
}

var signedAt = time.Date(2026, 6, 2, 12, 0, 0, 0, time.UTC)

// signed is a TaskRun whose status is signed in form v2.
func signed(t *testing.T, svid *x509svid.SVID) *v1.TaskRun {
	t.Helper()
	tr := recorded(t)
	if err := statushash.Sign(rand.Reader, tr, svid.Certificates, svid.PrivateKey, signedAt); err != nil {
		t.Fatal(err)
	}
	return tr
}

// Tekton's own controller never takes our form for its own.
func TestFormsDiffer(t *testing.T) {
	d := spiretest.New(t)
	tr := signed(t, serveController(d))
	if form, err := check(t, tr); form != statushash.FormV2 || err != nil {
		t.Fatalf("form %q, %v", form, err)
	}
	err := d.Controller(t).VerifyStatusInternalAnnotation(t.Context(), beta(t, tr), zap.NewNop().Sugar())
	if err == nil || !strings.Contains(err.Error(), "hash does not match") {
		t.Errorf("Tekton: got %v", err)
	}
	_, digits, _ := strings.Cut(strings.TrimPrefix(tr.Status.Annotations[signing.StatusHash], "v2."), ".")
	tr.Status.Annotations[signing.StatusHash] = digits
	if _, err := check(t, tr); !errors.Is(err, signing.ErrSignature) {
		t.Errorf("our hash without its form: got %v", err)
	}
}

// The hash covers the whole status and whose it is.
func TestHashV2Covers(t *testing.T) {
	svid := serveController(spiretest.New(t))
	for name, change := range map[string]func(*v1.TaskRun){
		"namespace":  func(tr *v1.TaskRun) { tr.Namespace = "other" },
		"name":       func(tr *v1.TaskRun) { tr.Name = "other" },
		"UID":        func(tr *v1.TaskRun) { tr.UID = "other" },
		"result":     func(tr *v1.TaskRun) { tr.Status.Results[0].Value.StringVal += "x" },
		"task":       func(tr *v1.TaskRun) { tr.Status.TaskSpec.Results = nil },
		"message":    func(tr *v1.TaskRun) { tr.Status.Conditions[0].Message = "x" },
		"transition": func(tr *v1.TaskRun) { tr.Status.Conditions[0].LastTransitionTime.Inner.Time = signedAt },
		"conditions": func(tr *v1.TaskRun) { tr.Status.Conditions = nil },
		"generation": func(tr *v1.TaskRun) { tr.Status.ObservedGeneration++ },
		"span":       func(tr *v1.TaskRun) { tr.Status.SpanContext = map[string]string{"a": "b"} },
	} {
		tr := signed(t, svid)
		change(tr)
		if _, err := check(t, tr); err == nil {
			t.Errorf("%s: expected an error, got none", name)
		}
	}
	tr := signed(t, svid)
	tr.Status.Annotations["other"], tr.Labels = "x", map[string]string{"a": "b"}
	if _, err := check(t, tr); err != nil {
		t.Errorf("what is not covered: %v", err)
	}
}

// TestHashV2LargeIntegers: the canonical form has floats only, in which large integers are the same. So a status with
// such an integer is not signed, and a signed one that gets one is not the same.
func TestHashV2LargeIntegers(t *testing.T) {
	tr := signed(t, serveController(spiretest.New(t)))
	for _, generation := range []int64{1 << 53, 1<<53 + 1, -1 << 53} {
		tr.Status.ObservedGeneration = generation
		if hash, err := statushash.HashV2(tr, signedAt); err == nil {
			t.Errorf("generation %d has the hash %s", generation, hash)
		}
		if _, err := check(t, tr); err == nil {
			t.Errorf("generation %d: the signature holds", generation)
		}
	}
	tr.Status.ObservedGeneration = 1<<53 - 1
	if _, err := statushash.HashV2(tr, signedAt); err != nil {
		t.Errorf("the largest integer: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	d := spiretest.New(t)
	svid := serveController(d)
	other := d.CA.ChildCA().CreateX509SVID(spiffeid.RequireFromString(controllerID))
	for name, tc := range map[string]struct {
		annotation string
		change     func(string) string
		want       string
	}{
		"no hash":      {signing.StatusHash, nil, "only some of them"},
		"no signature": {signing.StatusSignature, nil, "only some of them"},
		"no SVID":      {signing.StatusCertificates, nil, "only some of them"},
		"a long hash": {signing.StatusHash, func(s string) string { return s + strings.Repeat("0", 2<<20) },
			"at most 128"},
		"a long signature": {signing.StatusSignature, func(s string) string { return strings.Repeat(s, 1<<16) },
			"at most 1024"},
		"a long SVID": {signing.StatusCertificates, func(s string) string { return strings.Repeat(s, 1<<12) },
			"at most 32768"},
		"SVID twice":         {signing.StatusCertificates, func(s string) string { return s + s }, "got one twice"},
		"data after an SVID": {signing.StatusCertificates, func(s string) string { return s + "x" }, "nothing around"},
		"data before":        {signing.StatusCertificates, func(s string) string { return "x\n" + s }, "nothing around"},
		"nonsense":           {signing.StatusCertificates, func(string) string { return "x" }, "PEM"},
		"many SVIDs": {signing.StatusCertificates, func(s string) string {
			for range spire.MaxCertificates {
				s += spire.FormatPEM(d.CA.CreateX509SVID(other.ID).Certificates)
			}
			return s
		}, "1 to 10"},
		"another zone":  {signing.StatusHash, func(s string) string { return strings.Replace(s, "Z", "+00:00", 1) }, "UTC"},
		"capitals":      {signing.StatusHash, strings.ToUpper, "expected a SHA-256"},
		"short":         {signing.StatusHash, func(s string) string { return s[:80] }, "a point and a SHA-256"},
		"a later form":  {signing.StatusHash, func(string) string { return "v3.x" }, "form of another version"},
		"half a second": {signing.StatusHash, func(s string) string { return strings.Replace(s, "Z", ".5Z", 1) }, "UTC"},
	} {
		tr := signed(t, svid)
		if tc.change == nil {
			delete(tr.Status.Annotations, tc.annotation)
		} else {
			tr.Status.Annotations[tc.annotation] = tc.change(tr.Status.Annotations[tc.annotation])
		}
		if _, err := statushash.Parse(tr.Status.Annotations); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: expected an error with %q, got %v", name, tc.want, err)
		}
	}
	if _, err := statushash.Parse(map[string]string{"x": "y"}); !errors.Is(err, statushash.ErrNone) {
		t.Errorf("nothing: got %v", err)
	}
	tr := signed(t, other)
	if _, err := check(t, tr); err != nil {
		t.Errorf("an SVID with an intermediate certificate: %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	svid := serveController(spiretest.New(t))
	if err := statushash.Sign(rand.Reader, recorded(t), []*x509.Certificate{}, svid.PrivateKey, signedAt); err == nil {
		t.Error("expected an error without a certificate, got none")
	}
	tr := recorded(t)
	tr.Status.SpanContext = map[string]string{}
	for i := range 513 {
		tr.Status.SpanContext[fmt.Sprint(i)] = "x"
	}
	err := statushash.Sign(rand.Reader, tr, svid.Certificates, svid.PrivateKey, signedAt)
	if err == nil || !strings.Contains(err.Error(), "at most 512 members") {
		t.Errorf("expected an error for too many members, got %v", err)
	}
}

// The code makes the vector in docs/status-signature.md from a recorded TaskRun.
func TestVector(t *testing.T) {
	got, err := statushash.HashV2(recorded(t), signedAt)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "status-signature.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), got) {
		t.Errorf("docs/status-signature.md lacks the hash %s", got)
	}
}

// schema is the digest of the JSON schema of a status, as this version of Tekton's types has it.
const schema = "099580f1ae047eb2d467e52df4dda584d042bdc851cb286ea67d4c67e6760980"

// Form v2 covers exactly the fields of these types. If they change, a verifier with other types finds another hash:
// give the form a new name, so that it is not compared.
func TestFormFollowsTypes(t *testing.T) {
	var paths []string
	walk(reflect.TypeFor[v1.TaskRunStatus](), "", nil, func(path string) { paths = append(paths, path) })
	slices.Sort(paths)
	sum := sha256.Sum256([]byte(strings.Join(paths, "\n")))
	if got := hex.EncodeToString(sum[:]); got != schema {
		t.Errorf("the %d fields of a status have the digest %s, expected %s: the types have changed, so call the form v3 "+
			"(signing.OwnStatusForm)", len(paths), got, schema)
	}
}

// walk calls f with the path of every field of a type, by the names in JSON.
func walk(t reflect.Type, path string, above []reflect.Type, f func(string)) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t, path = t.Elem(), path+"*"
	}
	if t.Kind() != reflect.Struct || slices.Contains(above, t) {
		f(path + ":" + t.Kind().String())
		return
	}
	for i := range t.NumField() {
		field := t.Field(i)
		if name := field.Tag.Get("json"); field.IsExported() {
			walk(field.Type, path+"."+name, append(slices.Clip(above), t), f)
		}
	}
}
