// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/tektoncd/pipeline/pkg/result"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/workload"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

const podUID = "3db15e48-971f-4815-84b3-272e52f61a10"

// agent is a Workload API on a socket, as in the folder that the CSI driver mounts. It refuses the first
// calls, and then answers with its SVIDs.
type agent struct {
	api.UnimplementedSpiffeWorkloadAPIServer

	root    string
	refuses int32
	svids   []*api.X509SVID
	calls   atomic.Int32
}

func (a *agent) FetchX509SVID(
	_ *api.X509SVIDRequest, stream grpc.ServerStreamingServer[api.X509SVIDResponse],
) error {
	if a.calls.Add(1) <= a.refuses || len(a.svids) == 0 {
		return status.Error(codes.PermissionDenied, "no identity issued")
	}
	return stream.Send(&api.X509SVIDResponse{Svids: a.svids})
}

// newRoot returns a folder with the pod's name and UID. The path of a socket below it must be short.
func newRoot(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "spire")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	for _, dir := range []string{workload.PodDir, workload.SocketDir} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{workload.PodNameFile: "build-pod", workload.PodUIDFile: podUID} {
		if err := os.WriteFile(filepath.Join(root, workload.PodDir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// serve serves the agent until the test ends.
func (a *agent) serve(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(a.root, workload.SocketDir, "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	api.RegisterSpiffeWorkloadAPIServer(server, a)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
}

// newSVID returns an SVID with its key, as an agent sends it.
func newSVID(t *testing.T, ca *verifytest.CA, taskRun string, key crypto.Signer, change func(*x509.Certificate),
) *api.X509SVID {
	t.Helper()
	chain, err := ca.SVID("ci", taskRun, key.Public(), change)
	if err != nil {
		t.Fatal(err)
	}
	var der []byte
	for _, c := range chain {
		der = append(der, c.Raw...)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &api.X509SVID{
		SpiffeId: spire.TaskRunID(verifytest.TrustDomain, "ci", taskRun),
		X509Svid: der, X509SvidKey: private, Bundle: ca.Certificate.Raw,
	}
}

func newStep(t *testing.T) step.Ended {
	t.Helper()
	uid, err := signing.ParseUID("6340374f-3a88-4ff2-812e-c155a2d8e142")
	if err != nil {
		t.Fatal(err)
	}
	return step.Ended{Config: step.Config{
		Namespace: "ci", TaskRun: "build", TaskRunUID: uid, Container: "step-build", Count: 1,
		Options: step.Options{
			Backend: signing.BackendSPIRE, Format: signing.FormatV2,
			SPIRE: step.SPIRE{TrustDomain: verifytest.TrustDomain, Socket: "agent.sock"},
		},
	}}
}

// sign signs one result within a time limit.
func (a *agent) sign(t *testing.T, limit time.Duration, ended step.Ended) (map[string]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	signer := workload.NewSigner(workload.SignerOptions{Step: ended, Root: a.root, Now: now, Random: rand.Reader})
	carriers, err := signer.Sign(ctx, emitted())
	if err := signer.Close(); err != nil {
		t.Error(err)
	}
	got := map[string]string{}
	for _, c := range carriers {
		got[c.Key] = c.Value
	}
	return got, err
}

func emitted() []result.RunResult {
	return []result.RunResult{{Key: "digest", Value: "sha256:aaa", ResultType: result.TaskRunResultType}}
}

func now() time.Time { return verifytest.Start().Add(time.Minute) }

func newCA(t testing.TB) *verifytest.CA {
	t.Helper()
	ca, err := verifytest.NewCA(verifytest.TrustDomain)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newECKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestSign signs with each kind of key that SPIRE issues, with an intermediate authority, after an agent that
// has no identity at first, and with other identities of the pod.
func TestSign(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	root := newCA(t)
	below, err := root.Intermediate()
	if err != nil {
		t.Fatal(err)
	}
	other := newSVID(t, root, "other", newECKey(t, elliptic.P256()), nil)
	for name, tc := range map[string]struct {
		ca      *verifytest.CA
		key     crypto.Signer
		others  []*api.X509SVID
		refuses int32
		chain   int
	}{
		"P-256":            {ca: root, key: newECKey(t, elliptic.P256()), chain: 1},
		"RSA":              {ca: root, key: rsaKey, chain: 1},
		"intermediate":     {ca: below, key: newECKey(t, elliptic.P256()), chain: 2},
		"late entry":       {ca: root, key: newECKey(t, elliptic.P256()), refuses: 3, chain: 1},
		"other identities": {ca: root, key: newECKey(t, elliptic.P256()), others: []*api.X509SVID{other}, chain: 1},
	} {
		t.Run(name, func(t *testing.T) {
			svids := slices.Concat(tc.others, []*api.X509SVID{newSVID(t, tc.ca, "build", tc.key, nil)})
			a := &agent{root: newRoot(t), refuses: tc.refuses, svids: svids}
			a.serve(t)
			carriers, err := a.sign(t, 10*time.Second, newStep(t))
			if err != nil {
				t.Fatal(err)
			}
			if got := a.calls.Load(); got != tc.refuses+1 {
				t.Errorf("expected %d calls of the agent, got %d", tc.refuses+1, got)
			}
			checkUnit(t, carriers, tc.key.Public(), tc.chain)
		})
	}
}

// checkUnit checks the carriers of a step that emitted what emitted returns.
func checkUnit(t *testing.T, carriers map[string]string, key crypto.PublicKey, chain int) {
	t.Helper()
	header, err := signing.ParseManifest(carriers[signing.CarrierManifest])
	if err != nil {
		t.Fatal(err)
	}
	svid, err := spire.ParseChain(carriers[signing.CarrierSVID])
	if err != nil {
		t.Fatal(err)
	}
	if len(svid.Intermediates) != chain-1 {
		t.Errorf("expected %d certificates, got %d", chain, len(svid.Intermediates)+1)
	}
	entries, err := signing.EntriesOf(emitted())
	if err != nil {
		t.Fatal(err)
	}
	unit := signing.Unit{
		Header: header, Namespace: "ci", TaskRun: "build", Pod: "build-pod", Container: "step-build", Entries: entries,
	}
	signature, err := signing.DecodeBase64URL(carriers[signing.CarrierManifestSignature])
	if err != nil {
		t.Fatal(err)
	}
	if err := header.Algorithm.Verify(svid.Leaf.PublicKey, unit.Message(), signature); err != nil {
		t.Error(err)
	}
	if header.Algorithm != signing.AlgorithmOf(key) || header.Scheme != signing.SchemeSPIRE ||
		header.PodUID.String() != podUID || !header.SignedAt.Equal(now()) {
		t.Errorf("got header %+v", header)
	}
	if len(carriers) != 3 {
		t.Errorf("expected 3 carriers, got %v", carriers)
	}
}

// TestSignLegacy signs in format v1, as Tekton's own signer does.
func TestSignLegacy(t *testing.T) {
	ca, key := newCA(t), newECKey(t, elliptic.P256())
	a := &agent{root: newRoot(t), svids: []*api.X509SVID{newSVID(t, ca, "build", key, nil)}}
	a.serve(t)
	ended := newStep(t)
	ended.Config.Format = signing.FormatV1
	carriers, err := a.sign(t, 10*time.Second, ended)
	if err != nil {
		t.Fatal(err)
	}
	svid, err := spire.ParseLegacy(carriers[signing.CarrierSVID])
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"digest": "sha256:aaa", signing.CarrierManifest: carriers[signing.CarrierManifest],
	} {
		if err := signing.VerifyLegacy(svid.Leaf.PublicKey, value, carriers[name+signing.LegacySuffix]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoIdentity checks that a step without an identity stays unsigned, with the reason and the next step.
func TestNoIdentity(t *testing.T) {
	ca := newCA(t)
	stale := func(c *x509.Certificate) { c.NotAfter = now().Add(-time.Second) }
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, a *agent)
		hasty   bool
		want    string
	}{
		"no entry": {func(t *testing.T, a *agent) { a.serve(t) }, false, "check its entries"},
		"other entries only": {func(t *testing.T, a *agent) {
			a.svids = []*api.X509SVID{newSVID(t, ca, "other", newECKey(t, elliptic.P256()), nil)}
			a.serve(t)
		}, false, "only for spiffe://ci.example/ns/ci/taskrun/other"},
		"expired": {func(t *testing.T, a *agent) {
			a.svids = []*api.X509SVID{newSVID(t, ca, "build", newECKey(t, elliptic.P256()), stale)}
			a.serve(t)
		}, false, "expected an SVID that is valid now"},
		"key that cannot sign": {func(t *testing.T, a *agent) {
			a.svids = []*api.X509SVID{newSVID(t, ca, "build", newECKey(t, elliptic.P384()), nil)}
			a.serve(t)
		}, false, "workload_x509_svid_key_type"},
		"no agent":  {func(*testing.T, *agent) {}, false, "SPIRE's agent on this node does not answer"},
		"hurried":   {func(t *testing.T, a *agent) { a.serve(t) }, true, "within 0s"},
		"no volume": {func(t *testing.T, a *agent) { a.root = t.TempDir() }, false, "reading the pod's name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &agent{root: newRoot(t)}
			tc.prepare(t, a)
			ended, limit := newStep(t), 4*time.Second // for the first answer on a machine with other work
			if ended.Hasty = tc.hasty; tc.hasty {
				limit = time.Minute
			}
			carriers, err := a.sign(t, limit, ended)
			var unsigned *signing.UnsignedError
			if !errors.As(err, &unsigned) || unsigned.Reason != signing.UnsignedSVIDTimeout || len(carriers) > 0 {
				t.Fatalf("expected the reason %s, got %v and %v", signing.UnsignedSVIDTimeout, err, carriers)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("expected %q, got %v", tc.want, err)
			}
		})
	}
}

// TestAgentComesBack lets the agent start after the first attempts.
func TestAgentComesBack(t *testing.T) {
	svid := newSVID(t, newCA(t), "build", newECKey(t, elliptic.P256()), nil)
	a := &agent{root: newRoot(t), svids: []*api.X509SVID{svid}}
	time.AfterFunc(time.Second, func() { a.serve(t) })
	if _, err := a.sign(t, 20*time.Second, newStep(t)); err != nil {
		t.Error(err)
	}
}
