// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// scriptHistory returns what an API server answers about a trust history that holds a retired key. It adds to files
// a TaskRun which that key has signed, and bundles that only trust merge and show are made for.
func scriptHistory(files map[string][]byte) (map[string]string, error) {
	retired, err := verifytest.NewECCluster()
	if err != nil {
		return nil, err
	}
	tr, err := signedTaskRun(retired, "rotated")
	if err != nil {
		return nil, err
	}
	tr.Name = "build"
	if files["rotated.yaml"], err = yaml.Marshal(tr); err != nil {
		return nil, err
	}
	cluster, err := retired.Trust()
	if err != nil {
		return nil, err
	}
	history := trust.History{}
	for _, at := range []time.Time{tr.CreationTimestamp.Add(-time.Hour), tr.Status.CompletionTime.Time} {
		if err := history.Observe(cluster, at); err != nil {
			return nil, err
		}
	}
	cm := corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: trust.HistoryName(1), Annotations: map[string]string{trust.AnnotationCluster: verifytest.ClusterUID},
		},
		Data: map[string]string{},
	}
	for key, sightings := range history {
		if cm.Data[key], err = trust.EncodeEntry(sightings); err != nil {
			return nil, err
		}
	}
	list, err := json.Marshal(corev1.ConfigMapList{Items: []corev1.ConfigMap{cm}})
	if err != nil {
		return nil, err
	}
	return map[string]string{"/api/v1/namespaces/tekton-sign/configmaps": string(list)}, addTrustFiles(files, cluster)
}

// damagedHistory is what an API server answers about a trust history of which nothing can be used.
func damagedHistory() map[string]string {
	cm := corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: trust.HistoryName(1), Annotations: map[string]string{trust.AnnotationCluster: verifytest.ClusterUID},
		},
		Data: map[string]string{"sa." + strings.Repeat("0", 64): "junk"},
	}
	return map[string]string{"/api/v1/namespaces/tekton-sign/configmaps": mustJSON(
		corev1.ConfigMapList{Items: []corev1.ConfigMap{cm}})}
}

// addTrustFiles adds a bundle of another cluster, one with a hostile name, and one that contradicts bundle.json.
func addTrustFiles(files map[string][]byte, cluster *trust.Cluster) error {
	original, err := trust.Parse(files["bundle.json"])
	if err != nil {
		return err
	}
	other, hostile, clash := *cluster, *cluster, *cluster
	other.UID, other.Name = "1b0e2c1a-77b4-4f4b-8f43-3a0c5d0f3c55", "staging"
	other.Recorders = []trust.Recorder{{Subject: "system:serviceaccount:tekton-sign:controller"}}
	hostile.Name = "\x1b[2Kprod\u202e"
	key := cluster.ServiceAccountIssuers[0].Keys[0]
	key.JWK.KeyID = original.Clusters[0].ServiceAccountIssuers[0].Keys[0].JWK.KeyID
	clash.ServiceAccountIssuers = []trust.Issuer{{Issuer: verifytest.Issuer, Keys: []trust.IssuerKey{key}}}
	for name, c := range map[string]trust.Cluster{"staging.json": other, "hostile.json": hostile, "clash.json": clash} {
		if files[name], err = (&trust.Bundle{Clusters: []trust.Cluster{c}}).Marshal(); err != nil {
			return err
		}
	}
	return nil
}

func TestSummary(t *testing.T) {
	b := &trust.Bundle{}
	for i := range 5 {
		b.Clusters = append(b.Clusters, trust.Cluster{
			UID: fmt.Sprint(i),
			ServiceAccountIssuers: []trust.Issuer{{Issuer: fmt.Sprint("https://", i),
				Keys: []trust.IssuerKey{{NotAfter: trust.At(time.Unix(int64(i), 0))}}}},
		})
	}
	if got, want := summary(b), "5 clusters, issuers https://0, https://1, https://2, …, 5 keys (5 retired)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPastNotes(t *testing.T) {
	e := &env{name: "kubectl tekton-sign"}
	for name, c := range map[string]struct {
		past trust.Past
		want []string
	}{
		"whole":   {trust.Past{Found: true}, nil},
		"none":    {trust.Past{}, []string{"has no trust history"}},
		"refused": {trust.Past{Problems: []error{fmt.Errorf("no")}}, []string{"trust history: no", "was not used"}},
		"partly":  {trust.Past{Found: true, Problems: []error{fmt.Errorf("junk")}}, []string{"trust history: junk"}},
	} {
		got := pastNotes(e, c.past)
		if !slices.EqualFunc(got, c.want, strings.Contains) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
