// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
)

// TestNightlyRotation replaces the key with which the lab's API server signs service account tokens, as an operator
// does: first both keys are accepted and the new one signs, then everybody gets new tokens, then the old key goes.
// What the old key signed is VERIFIED ever after, from the trust history, and INDETERMINATE with the new key alone.
// It ends with disable and enable, which keep the history.
func TestNightlyRotation(t *testing.T) {
	c := open(t)
	cluster := openLab(t)
	c.enable(t)
	ns, dir := c.namespace(t, true), t.TempDir()
	keys := newRotation(t, cluster, dir)
	before := c.runSigned(t, ns, "before")
	oldBundle := filepath.Join(dir, "old.json")
	c.mustKubectl(t, "tekton-sign", "trust", "export", "-o", oldBundle)
	oldKey := onlyKey(t, oldBundle)

	keys.signWithNew(t)
	during := c.runSigned(t, ns, "during")
	c.renewTokens(t)
	keys.removeOld(t)
	c.mustKubectl(t, "get", "--raw", "/readyz")
	after := c.runSigned(t, ns, "after")

	live := keyIDs(t, c.mustKubectl(t, "get", "--raw", "/openid/v1/jwks"))
	if len(live) != 1 || live[0] == oldKey {
		t.Fatalf("the issuer publishes keys %v, want one that is not %s", live, oldKey)
	}
	t.Run("the history verifies what the old key signed", func(t *testing.T) {
		for _, tr := range []*pipelinev1.TaskRun{before, during, after} {
			c.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns)
		}
		bundle := filepath.Join(dir, "history.json")
		c.mustKubectl(t, "tekton-sign", "trust", "export", "-o", bundle)
		for _, tr := range []*pipelinev1.TaskRun{before, during, after} {
			c.verifyFile(t, dir, tr, bundle, "VERIFIED", 0)
		}
		wantWindows(t, bundle, oldKey, live[0])
	})
	t.Run("the new key alone does not", func(t *testing.T) {
		bundle := writeLiveBundle(t, dir, oldBundle, c.mustKubectl(t, "get", "--raw", "/openid/v1/jwks"))
		r := c.verifyFile(t, dir, before, bundle, "INDETERMINATE", 2)
		named := false
		for _, check := range r.Items[0].Checks {
			named = named || check.ID == "key" && strings.Contains(check.Expected, oldKey)
		}
		if !named {
			t.Errorf("no check names the missing key %s: %+v", oldKey, r.Items[0].Checks)
		}
		c.verifyFile(t, dir, after, bundle, "VERIFIED", 0)

		merged := filepath.Join(dir, "merged.json")
		c.mustKubectl(t, "tekton-sign", "trust", "merge", bundle, oldBundle, "-o", merged)
		c.verifyFile(t, dir, before, merged, "VERIFIED", 0)
		c.verifyFile(t, dir, after, merged, "VERIFIED", 0)
	})
	t.Run("the add-on judges a late status write with the old key", func(t *testing.T) { c.touchStatus(t, before) })
	t.Run("a removed history is put back with an event", func(t *testing.T) { testHistoryPutBack(t, c, oldKey) })
	t.Run("disable and enable keep the history", func(t *testing.T) {
		out := c.kubectl(t, "tekton-sign", "disable", "--yes")
		if out.code != 0 || !strings.Contains(out.stderr, "--purge") {
			t.Fatalf("want a disable that says what it keeps: %s", out)
		}
		c.verify(t, "VERIFIED", 0, "taskrun/"+before.Name, "-n", ns)
		if out := c.kubectl(t, enableArgs("--yes")...); out.code != 0 {
			t.Fatalf("enable: %s", out)
		}
		c.verify(t, "VERIFIED", 0, "taskrun/"+before.Name, "-n", ns)
	})
}

// rotation is the lab's key files and a new pair.
type rotation struct {
	lab             *testlab.Lab
	private, public string // files of the new pair
}

func newRotation(t *testing.T, l *testlab.Lab, dir string) *rotation {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	r := &rotation{lab: l, private: filepath.Join(dir, "new.key"), public: filepath.Join(dir, "new.pub")}
	writeFile(t, r.private, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	writeFile(t, r.public, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	return r
}

// signWithNew has the new key sign, and both accepted.
func (r *rotation) signWithNew(t *testing.T) {
	t.Helper()
	if err := r.lab.Restart(t.Context(), testlab.APIServer,
		"--service-account-signing-key-file="+r.private, "--service-account-key-file="+r.public); err != nil {
		t.Fatal(err)
	}
}

// removeOld puts the new pair in the place of the old one.
func (r *rotation) removeOld(t *testing.T) {
	t.Helper()
	for from, to := range map[string]string{r.private: "service-account.key", r.public: "service-account.pub"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(r.lab.StateFolder(), "pki", to), string(data))
	}
	for _, component := range []string{testlab.APIServer, testlab.ControllerManager} {
		if err := r.lab.Restart(t.Context(), component); err != nil {
			t.Fatal(err)
		}
	}
}

// renewTokens replaces the pods that bear tokens of the old key, before it goes: Tekton's and the add-on's.
func (c *cluster) renewTokens(t *testing.T) {
	t.Helper()
	for _, ns := range []string{"tekton-pipelines", "tekton-sign"} {
		c.mustKubectl(t, "rollout", "restart", "deployment", "-n", ns)
	}
	for _, ns := range []string{"tekton-pipelines", "tekton-sign"} {
		list, err := c.kube.AppsV1().Deployments(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) == 0 {
			t.Fatalf("the Deployments of %s: %d, %v", ns, len(list.Items), err)
		}
		for _, d := range list.Items {
			c.mustKubectl(t, "rollout", "status", "deployment/"+d.Name, "-n", ns, "--timeout=2m")
		}
	}
}

// runSigned runs a TaskRun until the add-on has judged it. It polls: a restarted API server knows no older versions
// to watch from, and Tekton takes a while to follow it again.
func (c *cluster) runSigned(t *testing.T, ns, name string) *pipelinev1.TaskRun {
	t.Helper()
	tr := fixture(t, "results")
	tr.Name = name
	var done *pipelinev1.TaskRun
	c.eventually(t, "TaskRun "+name+" to be created", func(ctx context.Context) (bool, error) {
		_, err := c.tekton.TektonV1().TaskRuns(ns).Create(ctx, tr, metav1.CreateOptions{})
		return err == nil || apierrors.IsAlreadyExists(err), nil // the webhooks of Tekton may not answer yet
	})
	c.eventually(t, "TaskRun "+name+" to be done", func(ctx context.Context) (bool, error) {
		got, err := c.tekton.TektonV1().TaskRuns(ns).Get(ctx, name, metav1.GetOptions{})
		done = got
		return err == nil && got.IsDone(), nil
	})
	wantSucceeded(t, done)
	wantCondition(t, done, "True", "TaskRunResultsVerified")
	return done
}

// verifyFile verifies a TaskRun offline.
func (c *cluster) verifyFile(t *testing.T, dir string, tr *pipelinev1.TaskRun, bundle, verdict string,
	code int) report {
	t.Helper()
	c.recorded(t, tr)
	file := filepath.Join(dir, tr.Name+".yaml")
	writeFile(t, file, c.mustKubectl(t, "get", "taskrun", tr.Name, "-n", tr.Namespace, "-o", "yaml"))
	return c.verify(t, verdict, code, "-f", file, "--trust-bundle", bundle)
}

// touchStatus writes the status of a completed TaskRun once more, as Tekton does now and then.
func (c *cluster) touchStatus(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	taskRuns := c.tekton.TektonV1().TaskRuns(tr.Namespace)
	c.eventually(t, "a late status write", func(ctx context.Context) (bool, error) {
		got, err := taskRuns.Get(ctx, tr.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		got.Status.Annotations = map[string]string{"e2e": time.Now().Format(time.RFC3339Nano)}
		for i := range got.Status.Conditions {
			if got.Status.Conditions[i].Type == "SignedResultsVerified" {
				got.Status.Conditions[i].Status = corev1.ConditionUnknown // it is recomputed
			}
		}
		_, err = taskRuns.UpdateStatus(ctx, got, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			return false, nil
		}
		return err == nil, err
	})
	got, err := taskRuns.Get(t.Context(), tr.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantCondition(t, got, "True", "TaskRunResultsVerified")
}

// testHistoryPutBack deletes the whole history, and waits until the add-on, the only one who still knows the old
// key, has put it back.
func testHistoryPutBack(t *testing.T, c *cluster, oldKey string) {
	maps := c.kube.CoreV1().ConfigMaps("tekton-sign")
	name := trust.HistoryName(1)
	if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually(t, "the old key to be put back", func(ctx context.Context) (bool, error) {
		cm, err := maps.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil && strings.Contains(describeData(cm), oldKey), err
	})
	c.eventually(t, "a warning event", func(ctx context.Context) (bool, error) {
		events, err := c.kube.CoreV1().Events("tekton-sign").List(ctx,
			metav1.ListOptions{FieldSelector: "reason=TrustHistoryRepaired"})
		return err == nil && len(events.Items) > 0 && events.Items[0].Type == corev1.EventTypeWarning, err
	})
}

func describeData(cm *corev1.ConfigMap) string {
	var all []string
	for key, value := range cm.Data {
		all = append(all, key+"="+value)
	}
	return strings.Join(all, "\n")
}

func parseBundle(t *testing.T, file string) *trust.Bundle {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := trust.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// onlyKey returns the ID of the one key of a bundle.
func onlyKey(t *testing.T, file string) string {
	t.Helper()
	keys := parseBundle(t, file).Clusters[0].ServiceAccountIssuers[0].Keys
	if len(keys) != 1 || keys[0].NotBefore.IsZero() {
		t.Fatalf("want one key with its first sighting, got %+v", keys)
	}
	return keys[0].JWK.KeyID
}

func keyIDs(t *testing.T, jwks string) []string {
	t.Helper()
	var set struct {
		Keys []trust.JWK `json:"keys"`
	}
	if err := json.Unmarshal([]byte(jwks), &set); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, k := range set.Keys {
		ids = append(ids, k.KeyID)
	}
	return ids
}

// wantWindows expects the old key to be retired and the new one in use.
func wantWindows(t *testing.T, file, oldKey, newKey string) {
	t.Helper()
	keys := parseBundle(t, file).Clusters[0].ServiceAccountIssuers[0].Keys
	if len(keys) != 2 {
		t.Fatalf("want two keys, got %+v", keys)
	}
	for _, k := range keys {
		switch k.JWK.KeyID {
		case oldKey:
			if k.NotBefore.IsZero() || k.NotAfter.IsZero() {
				t.Errorf("the old key has no window: %+v", k)
			}
		case newKey:
			if k.NotBefore.IsZero() || !k.NotAfter.IsZero() {
				t.Errorf("the new key is not in use: %+v", k)
			}
		default:
			t.Errorf("unexpected key %s", k.JWK.KeyID)
		}
	}
}

// writeLiveBundle writes a bundle like another one, but with just the keys that the issuer publishes now.
func writeLiveBundle(t *testing.T, dir, like, jwks string) string {
	t.Helper()
	bundle := parseBundle(t, like)
	var set struct {
		Keys []trust.JWK `json:"keys"`
	}
	if err := json.Unmarshal([]byte(jwks), &set); err != nil {
		t.Fatal(err)
	}
	issuer := &bundle.Clusters[0].ServiceAccountIssuers[0]
	issuer.Keys = nil
	for _, k := range set.Keys {
		issuer.Keys = append(issuer.Keys, trust.IssuerKey{JWK: k})
	}
	data, err := bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "new.json")
	writeFile(t, file, string(data))
	return file
}
