// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
)

// standIn makes the lab's busybox stand in for the shells that pods ask for, in the namespaces that selector
// matches, until the test ends: the node can pull nothing. It changes pods only, so that TaskRuns keep the images
// that tests compare.
func (c *cluster) standIn(t *testing.T, selector *metav1.LabelSelector) {
	t.Helper()
	address := c.addressToCluster(t)
	certificate, key, err := cert.GenerateSelfSignedCertKey(address, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(serveStandIn))
	_ = server.Listener.Close()
	server.Listener, server.TLS = listener, &tls.Config{Certificates: []tls.Certificate{pair},
		MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)

	fail, none, address := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone,
		"https://"+listener.Addr().String()
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-images-"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "images.e2e.tekton-sign.dev", FailurePolicy: &fail, SideEffects: &none,
			AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector:       selector,
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &address, CABundle: certificate},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule: admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"},
					Resources: []string{"pods"}},
			}},
		}},
	}
	webhooks := c.kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	configuration, err = webhooks.Create(t.Context(), configuration, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := webhooks.Delete(context.Background(), configuration.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("deleting the webhook: %v", err)
		}
	})
}

// addressToCluster returns the address of this machine on the way to the API server.
func (c *cluster) addressToCluster(t *testing.T) string {
	t.Helper()
	server, err := url.Parse(c.config.Host)
	if err != nil {
		t.Fatal(err)
	}
	port := server.Port()
	if port == "" {
		port = "443"
	}
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", net.JoinHostPort(server.Hostname(), port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	host, _, err := net.SplitHostPort(connection.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func serveStandIn(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	var pod corev1.Pod
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, fmt.Sprintf("expected an AdmissionReview with a request: %v", err), http.StatusBadRequest)
		return
	}
	if err := json.Unmarshal(review.Request.Object.Raw, &pod); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	patch, err := json.Marshal(standInPatch(&pod))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	kind := admissionv1.PatchTypeJSONPatch
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, Patch: patch,
		PatchType: &kind}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// change is one operation of a JSON patch.
type change struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value string `json:"value"`
}

func standInPatch(pod *corev1.Pod) []change {
	patch := []change{}
	for list, containers := range map[string][]corev1.Container{"initContainers": pod.Spec.InitContainers,
		"containers": pod.Spec.Containers} {
		for i, container := range containers {
			if !shells.MatchString("image: " + container.Image) {
				continue
			}
			path := fmt.Sprintf("/spec/%s/%d/", list, i)
			patch = append(patch, change{"add", path + "image", "docker.io/library/busybox:1.36"},
				change{"add", path + "imagePullPolicy", string(corev1.PullIfNotPresent)})
		}
	}
	return patch
}
