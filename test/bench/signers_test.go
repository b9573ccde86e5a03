// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	api "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/workload"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// apiServer issues tokens, signed with the cluster's key, for a pod whose credentials are in a folder.
type apiServer struct {
	address, folder, ca string
	key                 crypto.Signer
}

func newAPIServer(tb testing.TB, cluster *verifytest.Cluster) *apiServer {
	tb.Helper()
	s := &apiServer{folder: tb.TempDir(), key: cluster.Private}
	server := httptest.NewTLSServer(s)
	tb.Cleanup(server.Close)
	sum := sha256.Sum256(server.Certificate().Raw)
	s.address, s.ca = server.URL, hex.EncodeToString(sum[:])
	write(tb, s.folder, "token", []byte(s.token(tb, "https://kubernetes.default.svc")))
	write(tb, s.folder, "ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return s
}

// ServeHTTP answers a TokenRequest.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct{ Spec struct{ Audiences []string } }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || len(request.Spec.Audiences) != 1 {
		http.Error(w, "no audience", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"kind":"TokenRequest","status":{"token":%q}}`, s.token(nil, request.Spec.Audiences[0]))
}

// token returns a token of the pod.
func (s *apiServer) token(tb testing.TB, audience string) string {
	claims, err := json.Marshal(map[string]any{
		"aud": []string{audience}, "kubernetes.io": map[string]any{
			"namespace": "ci", "pod": map[string]any{"name": "build-pod", "uid": podUID},
			"serviceaccount": map[string]any{"name": "builder", "uid": "x"},
		},
	})
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signature, failed := s.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if tb != nil && (err != nil || failed != nil) {
		tb.Fatal(err, failed)
	}
	return text + "." + encode(signature)
}

const podUID = "3db15e48-971f-4815-84b3-272e52f61a10"

func (s *apiServer) signer() stepSigner {
	return stepSigner{Backend: signing.BackendOIDCSAToken, Folder: s.folder, Address: s.address, CA: s.ca}
}

// agent is SPIRE's agent on the node, with the SVID of the pod.
type agent struct {
	api.UnimplementedSpiffeWorkloadAPIServer

	root   string
	answer *api.X509SVIDResponse
}

// FetchX509SVID answers with the pod's SVID.
func (a *agent) FetchX509SVID(_ *api.X509SVIDRequest, stream grpc.ServerStreamingServer[api.X509SVIDResponse]) error {
	return stream.Send(a.answer)
}

func newAgent(tb testing.TB, cluster *verifytest.Cluster) *agent {
	tb.Helper()
	root, err := os.MkdirTemp("", "spire") // the path of a socket must be short
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(root) })
	a := &agent{root: root, answer: &api.X509SVIDResponse{Svids: []*api.X509SVID{podSVID(tb, cluster)}}}
	write(tb, filepath.Join(root, workload.PodDir), workload.PodNameFile, []byte("build-pod"))
	write(tb, filepath.Join(root, workload.PodDir), workload.PodUIDFile, []byte(podUID))
	write(tb, filepath.Join(root, workload.SocketDir), "other", nil)
	listener, err := net.Listen("unix", filepath.Join(root, workload.SocketDir, "agent.sock"))
	if err != nil {
		tb.Fatal(err)
	}
	server := grpc.NewServer()
	api.RegisterSpiffeWorkloadAPIServer(server, a)
	go func() { _ = server.Serve(listener) }()
	tb.Cleanup(server.Stop)
	return a
}

func podSVID(tb testing.TB, cluster *verifytest.Cluster) *api.X509SVID {
	tb.Helper()
	key, err := verifytest.NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	now := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	}
	chain, err := cluster.CA.SVID("ci", "build", key.Public(), now)
	if err != nil {
		tb.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return &api.X509SVID{
		SpiffeId: spire.TaskRunID(verifytest.TrustDomain, "ci", "build"), X509Svid: chain[0].Raw, X509SvidKey: private,
		Bundle: cluster.CA.Certificate.Raw,
	}
}

func (a *agent) signer() stepSigner { return stepSigner{Backend: signing.BackendSPIRE, Folder: a.root} }

func write(tb testing.TB, folder, name string, data []byte) {
	tb.Helper()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
		tb.Fatal(err)
	}
}
