// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	tektontest "github.com/tektoncd/pipeline/pkg/spire/test"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spiretest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// tektonSigns makes Tekton's own code sign every step, as its entrypoint calls it: once for the task results,
// and once more for the step results if there are any.
func tektonSigns(t *testing.T, domain *spiretest.Domain) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		r.Format, r.Scheme = v1Format, bySPIRE
		for i := range r.Steps {
			step := &r.Steps[i]
			step.Carriers = func(carriers map[string]string) {
				clear(carriers)
				byKind := map[result.ResultType][]result.RunResult{}
				for _, e := range step.Entries {
					byKind[e.ResultType] = append(byKind[e.ResultType], e)
				}
				signed := domain.Sign(t, byKind[result.TaskRunResultType])
				if more := byKind[result.StepResultType]; more != nil {
					signed = append(signed, domain.Sign(t, more)...)
				}
				for _, c := range signed {
					carriers[c.Key] = c.Value
				}
			}
		}
	}
}

// virtual returns the virtual cluster in the trust domain of the tests' Tekton clients.
func virtual(t *testing.T) *verifytest.Cluster {
	t.Helper()
	c := *theCluster()
	c.CA = newCA(t, spiretest.TrustDomain)
	return &c
}

func verifierOf(t *testing.T, c *verifytest.Cluster, options ...verify.Option) *verify.Verifier {
	t.Helper()
	cluster, err := c.Trust()
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(cluster, append(options, verify.WithUnrecorded())...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// entriesOf returns the entries of a step's message.
func entriesOf(t *testing.T, tr *v1.TaskRun, step int) []result.RunResult {
	t.Helper()
	var entries []result.RunResult
	if err := json.Unmarshal([]byte(tr.Status.Steps[step].Terminated.Message), &entries); err != nil {
		t.Fatal(err)
	}
	return entries
}

// What Tekton's own code signed still verifies years later, when Tekton's own verifier refuses it.
func TestTektonSignsAndWeVerify(t *testing.T) {
	cluster := virtual(t)
	domain := spiretest.New(t)
	domain.ServeBundles(t, map[string]*x509.Certificate{spiretest.TrustDomain: cluster.CA.Certificate})
	key, err := verifytest.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"ECDSA": key, "RSA": newRSAKey(t, 2048)} {
		t.Run(name, func(t *testing.T) {
			chain, err := cluster.CA.SVID("ci", "build", key.Public(), nil)
			if err != nil {
				t.Fatal(err)
			}
			domain.ServeSVID(t, chain, key)
			run := verifytest.NewRun()
			tektonSigns(t, domain)(run)
			run.Steps[1].Entries = append(run.Steps[1].Entries, verifytest.TaskResult("empty", ""))
			tr, err := run.TaskRun(cluster)
			if err != nil {
				t.Fatal(err)
			}
			got := verifierOf(t, cluster).TaskRun(t.Context(), tr, verify.Facts{Live: true})
			if got.Verdict != verify.Verified || got.Assurance != signing.AssuranceLegacy || len(got.Results) != 4 {
				t.Errorf("%s %s %s: %+v", got.Verdict, got.Assurance, got.Reason, got.Checks)
			}
			if err := domain.Verify(t, "ci", "build", entriesOf(t, tr, 0)); err == nil {
				t.Error("Tekton accepts an SVID that has expired: this test is about one that it refuses")
			}
			inDigest(to("sha256:1"))(tr)
			if got := verifierOf(t, cluster).TaskRun(t.Context(), tr, verify.Facts{Live: true}); got.Verdict != verify.Failed {
				t.Errorf("another value: %s", got.Verdict)
			}
		})
	}
}

// now moves the times of a virtual TaskRun into the validity of certificates that were just made.
func now(tr *v1.TaskRun) {
	at := metav1.NewTime(time.Now().Truncate(time.Second))
	tr.CreationTimestamp, tr.Status.StartTime, tr.Status.CompletionTime = at, &at, &at
	for i := range tr.Status.Steps {
		tr.Status.Steps[i].Terminated.FinishedAt = at
	}
}

// Tekton's own verifier does not support intermediate authorities, and uses the trust domain that sorts
// first.
func TestTektonRefusesWhatWeVerify(t *testing.T) {
	domain := spiretest.New(t)
	child := domain.CA.ChildCA(tektontest.WithKeyUsage(x509.KeyUsageCertSign))
	partner := tektontest.NewCA(t, spiffeid.RequireTrustDomainFromString("another.example"))
	id := spiretest.ID("ci", "build")
	direct, below := domain.CA.CreateX509SVID(id), child.CreateX509SVID(id)
	minted := partner.CreateX509SVID(id) // the partner's authority vouches for our ID
	root, foreign := domain.CA.X509Authorities()[0], partner.X509Authorities()[0]
	for name, c := range map[string]struct {
		svid      *x509svid.SVID
		own       []*x509.Certificate // authorities in our trust bundle
		federated bool
		theirs    bool // Tekton's verdict
		want      verify.Verdict
	}{
		"an authority's own": {direct, []*x509.Certificate{root}, false, true, verify.Verified},
		"below an intermediate": {
			below, []*x509.Certificate{root, below.Certificates[1]}, false, false, verify.Verified,
		},
		"intermediate not in bundle":   {below, []*x509.Certificate{root}, false, false, verify.Indeterminate},
		"honest, in a federation":      {direct, []*x509.Certificate{root}, true, false, verify.Verified},
		"minted by a federated domain": {minted, []*x509.Certificate{root}, true, true, verify.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			domain.ServeBundles(t, map[string]*x509.Certificate{spiretest.TrustDomain: root})
			domain.ServeSVID(t, c.svid.Certificates[:1], c.svid.PrivateKey)
			cluster := virtual(t)
			run := verifytest.NewRun()
			tektonSigns(t, domain)(run)
			tr, err := run.TaskRun(cluster)
			if err != nil {
				t.Fatal(err)
			}
			now(tr)
			bundle := &trust.Cluster{
				UID: verifytest.ClusterUID, TrustDomain: spiretest.TrustDomain,
				Domains: []trust.Domain{{TrustDomain: spiretest.TrustDomain}},
			}
			for _, certificate := range c.own {
				bundle.Domains[0].X509Authorities = append(bundle.Domains[0].X509Authorities, verifytest.Authority(certificate))
			}
			if c.federated {
				bundle.Domains = append(bundle.Domains, trust.Domain{
					TrustDomain: "another.example", Federated: true,
					X509Authorities: []trust.X509Authority{verifytest.Authority(foreign)},
				})
				domain.ServeBundles(t, map[string]*x509.Certificate{spiretest.TrustDomain: root, "another.example": foreign})
			}
			v, err := verify.New(bundle, verify.WithUnrecorded())
			if err != nil {
				t.Fatal(err)
			}
			if got := v.TaskRun(t.Context(), tr, verify.Facts{Live: true}); got.Verdict != c.want {
				t.Errorf("%s, want %s: %+v", got.Verdict, c.want, got.Checks)
			}
			if err := domain.Verify(t, "ci", "build", entriesOf(t, tr, 0)); (err == nil) != c.theirs {
				t.Errorf("Tekton says %v, want acceptance: %v", err, c.theirs)
			}
		})
	}
}

// A step that also declares step results leaves an empty list of names. Someone can then remove results, and
// Tekton's verifier accepts the rest.
func TestTektonLeavesTheManifestEmpty(t *testing.T) {
	domain := spiretest.New(t)
	svid := domain.Serve(spiretest.ID("ci", "build"))
	cluster := virtual(t)
	run := verifytest.NewRun()
	run.Steps[0].Entries = append(run.Steps[0].Entries, verifytest.StepResult("scan", "clean"))
	tektonSigns(t, domain)(run)
	tr, err := run.TaskRun(cluster)
	if err != nil {
		t.Fatal(err)
	}
	now(tr)
	entries := entriesOf(t, tr, 0)
	removed := slices.DeleteFunc(slices.Clone(entries), func(r result.RunResult) bool {
		return r.Key == "IMAGE_DIGEST" || r.Key == "IMAGE_DIGEST.sig"
	})
	if len(removed) != len(entries)-2 {
		t.Fatalf("entries %+v", entries)
	}
	for name, list := range map[string][]result.RunResult{"as it is": entries, "with a result removed": removed} {
		if err := domain.Verify(t, "ci", "build", list); err != nil {
			t.Errorf("Tekton refuses it %s: %v", name, err)
		}
	}
	bundle := &trust.Cluster{
		UID: verifytest.ClusterUID, TrustDomain: spiretest.TrustDomain,
		Domains: []trust.Domain{{
			TrustDomain:     spiretest.TrustDomain,
			X509Authorities: []trust.X509Authority{verifytest.Authority(domain.CA.X509Authorities()[0])},
		}},
	}
	v, err := verify.New(bundle, verify.WithUnrecorded())
	if err != nil {
		t.Fatal(err)
	}
	got := v.TaskRun(t.Context(), tr, verify.Facts{Live: true})
	if got.Verdict != verify.Failed || got.Reason != string(verify.CheckPayload) || len(svid.Certificates) != 1 {
		t.Errorf("%s %s: %+v", got.Verdict, got.Reason, got.Checks)
	}
}
