// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
)

// TestNightlyFaults has the faults that come more seldom. Some of them need the lab, whose processes they stop.
func TestNightlyFaults(t *testing.T) {
	c := open(t)
	c.enable(t)
	jumping := buildJumping(t) // before there is any load
	for _, f := range []fault{
		{name: "certificate replaced", strike: strikeCertificate, harmless: true},
		{name: "certificate expired", strike: strikeExpiredCertificate},
		{name: "trust history deleted", strike: strikeHistory, harmless: true},
		{name: "settings of nonsense", strike: strikeSettings, harmless: true},
		{name: "API server restarted", strike: strikeAPIServer},
		{name: "etcd slow", strike: strikeEtcd},
		{name: "both replicas killed", strike: strikeBoth},
		{name: "node rebooted", strike: strikeNode, interrupts: true},
		{name: "clocks an hour ahead", strike: strikeClock(jumping, time.Hour, 20*time.Second), harmless: true},
		// the certificate has expired by them
		{name: "clocks eight days ahead", strike: strikeClock(jumping, 8*24*time.Hour, 75*time.Second)},
		{name: "clocks ten minutes behind", strike: strikeClock(jumping, -10*time.Minute, 20*time.Second), harmless: true},
	} {
		t.Run(f.name, func(t *testing.T) { f.test(t, c) })
	}
}

// strikeCertificate has the add-on make a new certificate while the old one is still good, as it does every week.
func strikeCertificate(t *testing.T, c *cluster) {
	before := c.certificate(t)
	c.mustKubectl(t, "patch", "secret", "webhook-certificate", "-n", "tekton-sign", "--type=json",
		`-p=[{"op":"remove","path":"/data/`+certresources.ServerCert+`"}]`)
	c.awaitCertificate(t, before)
	time.Sleep(70 * time.Second) // the replicas go on with the old one for a minute
	c.wantServed(t, c.certificate(t))
}

// strikeExpiredCertificate puts a certificate that has expired in the place of the good one.
func strikeExpiredCertificate(t *testing.T, c *cluster) {
	key, cert, authority, err := certresources.CreateCerts(t.Context(), "tekton-sign-controller", "tekton-sign",
		time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	secrets := c.kube.CoreV1().Secrets("tekton-sign")
	c.eventually(t, "the expired certificate to be written", func(ctx context.Context) (bool, error) {
		secret, err := secrets.Get(ctx, "webhook-certificate", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		secret.Data = map[string][]byte{certresources.ServerKey: key, certresources.ServerCert: cert,
			certresources.CACert: authority}
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
		return err == nil, nil
	})
	c.awaitCertificate(t, cert)
	c.wantServed(t, c.certificate(t))
	for _, pod := range c.replicas(t) {
		if n := pod.Status.ContainerStatuses[0].RestartCount; n > 0 {
			t.Errorf("replica %s was restarted %d times", pod.Name, n)
		}
	}
}

// certificate returns the certificate of the webhooks, in PEM.
func (c *cluster) certificate(t *testing.T) []byte {
	t.Helper()
	secret, err := c.kube.CoreV1().Secrets("tekton-sign").Get(t.Context(), "webhook-certificate", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Data[certresources.ServerCert]
}

// awaitCertificate waits until there is another certificate, whose authority the API server has been told.
func (c *cluster) awaitCertificate(t *testing.T, before []byte) {
	t.Helper()
	c.eventually(t, "a new certificate", func(ctx context.Context) (bool, error) {
		secret, err := c.kube.CoreV1().Secrets("tekton-sign").Get(ctx, "webhook-certificate", metav1.GetOptions{})
		if err != nil || len(secret.Data[certresources.ServerCert]) == 0 ||
			bytes.Equal(secret.Data[certresources.ServerCert], before) {
			return false, err
		}
		hooks, err := c.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, "tekton-sign-status",
			metav1.GetOptions{})
		return err == nil && bytes.Contains(hooks.Webhooks[0].ClientConfig.CABundle, secret.Data[certresources.CACert]), err
	})
}

// wantServed wants both replicas to serve with the certificate.
func (c *cluster) wantServed(t *testing.T, want []byte) {
	t.Helper()
	block, _ := pem.Decode(want)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range c.replicas(t) {
		c.eventually(t, "replica "+pod.Name+" to serve with the new certificate", func(context.Context) (bool, error) {
			out, err := inLab(t, "sh", "-c", `exec 2>/dev/null; : | timeout 5 openssl s_client -connect "$1:8443" -showcerts`,
				"sh", pod.Status.PodIP)
			if err != nil && out == "" {
				return false, nil
			}
			_, rest, _ := strings.Cut(out, "-----BEGIN CERTIFICATE-----")
			served, _ := pem.Decode([]byte("-----BEGIN CERTIFICATE-----" + rest))
			return served != nil && bytes.Equal(served.Bytes, leaf.Raw), nil
		})
	}
}

// strikeHistory deletes the whole trust history.
func strikeHistory(t *testing.T, c *cluster) {
	maps := c.kube.CoreV1().ConfigMaps("tekton-sign")
	name := trust.HistoryName(1)
	before, err := maps.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually(t, "the history to be put back", func(ctx context.Context) (bool, error) {
		got, err := maps.Get(ctx, name, metav1.GetOptions{})
		return err == nil && got.UID != before.UID && len(got.Data) == len(before.Data), nil
	})
}

// strikeSettings writes nonsense into the settings: first where the policy refuses it, then where an administrator
// has taken the policy away.
func strikeSettings(t *testing.T, c *cluster) {
	maps := c.kube.CoreV1().ConfigMaps("tekton-pipelines")
	good, err := maps.Get(t.Context(), "config-signing", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bad := good.DeepCopy()
	bad.Data = map[string]string{"enforce-nonfalsifiability": "oidc-sa-tokken", "signing-enforcement": "sometimes"}
	_, err = maps.Update(t.Context(), bad, metav1.UpdateOptions{})
	refused := apierrors.IsInvalid(err) || apierrors.IsForbidden(err)
	if !refused || !strings.Contains(err.Error(), ": expected one of ") { // it names one of the two keys
		t.Errorf("expected a refusal that says what is wrong, got %v", err)
	}

	c.mustKubectl(t, "delete", "validatingadmissionpolicybinding", "tekton-sign-settings")
	var written *corev1.ConfigMap
	c.eventually(t, "the nonsense to be stored", func(ctx context.Context) (bool, error) {
		written, err = maps.Update(ctx, bad, metav1.UpdateOptions{})
		return err == nil, nil
	})
	c.eventually(t, "the add-on to say so", func(context.Context) (bool, error) {
		return strings.Contains(c.addOnLogs(t), "the settings cannot be used"), nil
	})
	strikeRestartWithNonsense(t, c)
	written.Data = good.Data
	if _, err := maps.Update(t.Context(), written, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.awaitReplicas(t)
	c.mustKubectl(t, enableArgs("--yes")...) // brings the policy back
}

// strikeRestartWithNonsense deletes one replica while the settings are nonsense: the next one knows no good ones
// and must not get ready, while the one that is left goes on with those it knows.
func strikeRestartWithNonsense(t *testing.T, c *cluster) {
	victim := c.replicas(t)[0].Name
	c.mustKubectl(t, "delete", "pod", victim, "-n", "tekton-sign", "--wait=true")
	time.Sleep(10 * time.Second)
	for _, pod := range c.replicas(t) {
		for _, cond := range pod.Status.Conditions {
			fresh := time.Since(pod.CreationTimestamp.Time) < 30*time.Second
			if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue && fresh {
				t.Errorf("replica %s is ready although it never saw settings that it can use", pod.Name)
			}
		}
	}
}

// addOnLogs returns what the replicas have logged.
func (c *cluster) addOnLogs(t *testing.T) string {
	t.Helper()
	return c.mustKubectl(t, "logs", "-n", "tekton-sign", "-l", partOf, "--tail=-1", "--prefix")
}

func strikeAPIServer(t *testing.T, c *cluster) {
	lab(t, "restart", "kube-apiserver")
	c.awaitReplicas(t)
}

// strikeEtcd has the store stand still, in bursts, for half a minute.
func strikeEtcd(t *testing.T, _ *cluster) {
	pid := strconv.Itoa(pidInLab(t, testlab.Etcd))
	defer func() { _, _ = inLab(t, "kill", "-CONT", pid) }()
	for range 10 {
		for _, step := range []struct {
			signal string
			pause  time.Duration
		}{{"-STOP", 2 * time.Second}, {"-CONT", time.Second}} {
			if out, err := inLab(t, "kill", step.signal, pid); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			time.Sleep(step.pause)
		}
	}
}

// pidInLab returns the process id of a component inside the lab.
func pidInLab(t *testing.T, component string) int {
	t.Helper()
	l := openLab(t)
	status, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range status.Components {
		if s.Name == component && s.PID > 0 {
			return s.PID
		}
	}
	t.Fatalf("%s does not run in the lab", component)
	return 0
}

// openLab returns the lab, which must be the cluster under test.
func openLab(t *testing.T) *testlab.Lab {
	t.Helper()
	l, err := testlab.Open(testlab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if under := os.Getenv("KUBECONFIG"); l.Kubeconfig() != under {
		t.Fatalf("this test works on the lab itself, but KUBECONFIG is %s and the lab's is %s", under, l.Kubeconfig())
	}
	return l
}

// strikeBoth kills both replicas at once. Their containers are started again.
func strikeBoth(t *testing.T, c *cluster) {
	for _, pod := range c.replicas(t) {
		killContainers(t, string(pod.UID))
	}
	c.awaitReplicas(t)
}

// strikeNode ends everything that runs in pods, as a reboot does, in the middle of steps.
func strikeNode(t *testing.T, c *cluster) {
	lab(t, "stop", "kubelet")
	killContainers(t, "kubepods")
	lab(t, "restart", "containerd")
	time.Sleep(5 * time.Second)
	lab(t, "start", "kubelet")
	for _, ns := range []string{"tekton-pipelines", "tekton-sign"} {
		c.eventually(t, "the Deployments of "+ns, func(ctx context.Context) (bool, error) {
			list, err := c.kube.AppsV1().Deployments(ns).List(ctx, metav1.ListOptions{})
			if err != nil || len(list.Items) == 0 {
				return false, nil
			}
			for _, d := range list.Items {
				if d.Status.ReadyReplicas != *d.Spec.Replicas {
					return false, nil
				}
			}
			return true, nil
		})
	}
}
