// SPDX-License-Identifier: Apache-2.0

package trust_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// liveCluster returns a cluster that has these keys in use.
func liveCluster(keys ...trust.JWK) *trust.Cluster {
	issuer := trust.Issuer{Issuer: "https://i"}
	for _, k := range keys {
		issuer.Keys = append(issuer.Keys, trust.IssuerKey{JWK: k})
	}
	return &trust.Cluster{UID: uid, ServiceAccountIssuers: []trust.Issuer{issuer}}
}

func observe(t *testing.T, h trust.History, live *trust.Cluster, at trust.Timestamp) {
	t.Helper()
	if err := h.Observe(live, at.Time); err != nil {
		t.Fatal(err)
	}
}

func TestHistoryFollowsARotation(t *testing.T) {
	a, b := newJWK(t, "a"), newJWK(t, "b")
	h := trust.History{}
	observe(t, h, liveCluster(a), day(1))
	observe(t, h, liveCluster(a, b), day(2))
	observe(t, h, liveCluster(b), day(3))
	got, err := h.Cluster("prod", uid)
	if err != nil {
		t.Fatal(err)
	}
	recorders := []trust.Recorder{{Subject: trust.AddOn}}
	want := &trust.Cluster{Name: "prod", UID: uid, Recorders: recorders,
		ServiceAccountIssuers: []trust.Issuer{{Issuer: "https://i", Keys: []trust.IssuerKey{
			{JWK: a, NotBefore: day(1), NotAfter: day(2)}, {JWK: b, NotBefore: day(2), LastSeen: day(3)},
		}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the rotation (-want +got):\n%s", diff)
	}
	observe(t, h, liveCluster(a), day(4)) // rolled back
	if got, err = h.Cluster("prod", uid); err != nil {
		t.Fatal(err)
	}
	want.ServiceAccountIssuers[0].Keys = []trust.IssuerKey{
		{JWK: a, NotBefore: day(1), LastSeen: day(4)}, {JWK: b, NotBefore: day(2), NotAfter: day(3)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after rolling back (-want +got):\n%s", diff)
	}
}

// TestHistoryKeepsKindsApart checks that observing only issuer keys does not change SPIFFE authorities, and
// that one key under two issuers is one entry.
func TestHistoryKeepsKindsApart(t *testing.T) {
	live := liveCluster(newJWK(t, "a"))
	live.ServiceAccountIssuers = append(live.ServiceAccountIssuers,
		trust.Issuer{Issuer: "https://j", Keys: live.ServiceAccountIssuers[0].Keys})
	live.TrustDomain = "d"
	live.Domains = []trust.Domain{{TrustDomain: "d", X509Authorities: []trust.X509Authority{{DER: newAuthority(t)}}}}
	h := trust.History{}
	observe(t, h, live, day(1))
	if len(h) != 2 {
		t.Fatalf("got %d entries, want one for the key and one for the certificate: %v", len(h), h)
	}
	observe(t, h, liveCluster(newJWK(t, "b")), day(2))
	got, err := h.Cluster("", uid)
	if err != nil {
		t.Fatal(err)
	}
	if a := got.Domains[0].X509Authorities[0]; !a.NotAfter.IsZero() || a.LastSeen != day(1) || got.TrustDomain != "d" {
		t.Errorf("the authority was retired by a look at other keys: %+v", a)
	}
	if n := len(got.ServiceAccountIssuers); n != 2 {
		t.Errorf("got %d issuers, want 2", n)
	}
}

// entryOf returns the data key and the text of a history with one entry.
func entryOf(t *testing.T, h trust.History) (key, text string) {
	t.Helper()
	for key, sightings := range h {
		text, err := trust.EncodeEntry(sightings)
		if err != nil {
			t.Fatal(err)
		}
		return key, text
	}
	t.Fatal("an empty history")
	return "", ""
}

func TestEntryIsStrict(t *testing.T) {
	h := trust.History{}
	observe(t, h, liveCluster(newJWK(t, "a")), day(2))
	key, text := entryOf(t, h)
	if !strings.HasPrefix(key, "sa.") || len(key) != len("sa.")+64 {
		t.Errorf("data key %q, want sa. and 64 hex digits", key)
	}
	got, err := trust.DecodeEntry(key, text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h[key], got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	other := trust.History{}
	observe(t, other, liveCluster(newJWK(t, "a")), day(2))
	_, foreign := entryOf(t, other)
	replace := func(old, new string) string {
		changed := strings.Replace(text, old, new, 1)
		if changed == text {
			t.Fatalf("%q is not in %s", old, text)
		}
		return changed
	}
	twice := strings.TrimSuffix(text, "]") + "," + strings.TrimPrefix(text, "[")
	for name, bad := range map[string]string{
		"another key":    foreign,
		"empty":          "",
		"no sighting":    "[]",
		"null":           "null",
		"unknown field":  replace(`"current"`, `"colour":1,"current"`),
		"another case":   replace(`"current"`, `"Current"`),
		"trailing data":  text + "[]",
		"a use twice":    twice,
		"no issuer":      replace(`"https://i"`, `""`),
		"no kid":         replace(`"kid":"a"`, `"kid":""`),
		"private key":    replace(`"kid":"a"`, `"kid":"a","d":"AA"`),
		"both kinds":     replace(`"current"`, `"trustDomain":"d","current"`),
		"times reversed": replace(`"lastSeen":"2026-01-02`, `"lastSeen":"2026-01-01`),
		"never seen":     replace(`"firstSeen":"2026-01-02T00:00:00Z"`, `"firstSeen":""`),
		"symmetric key":  replace(`"kty":"EC"`, `"kty":"oct"`),
		"too long":       text + strings.Repeat(" ", 64<<10),
		"no certificate": `[{"trustDomain":"d","der":"AAAA","firstSeen":"2026-01-02T00:00:00Z",` +
			`"lastSeen":"2026-01-02T00:00:00Z","current":true}]`,
		"neither of them": `[{"trustDomain":"d","firstSeen":"2026-01-02T00:00:00Z",` +
			`"lastSeen":"2026-01-02T00:00:00Z","current":true}]`,
	} {
		if _, err := trust.DecodeEntry(key, bad); err == nil {
			t.Errorf("%s: read without an error", name)
		}
	}
}

func TestHistoryNumber(t *testing.T) {
	for name, want := range map[string]int{
		"tekton-sign-trust-1": 1, "tekton-sign-trust-12": 12,
		"tekton-sign-trust-0": 0, "tekton-sign-trust-13": 0, "tekton-sign-trust-01": 0, "tekton-sign-trust-+1": 0,
		"tekton-sign-trust-": 0, "tekton-sign-trust": 0, "1": 0, "config-logging": 0,
	} {
		got, ok := trust.HistoryNumber(name)
		if got != want || ok != (want > 0) {
			t.Errorf("%s: got %d, %v, want %d", name, got, ok, want)
		}
	}
}

// historyMap returns a ConfigMap as the add-on writes it.
func historyMap(t *testing.T, number int, h trust.History) corev1.ConfigMap {
	t.Helper()
	cm := corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: trust.HistoryName(number),
			Annotations: map[string]string{trust.AnnotationCluster: uid}},
		Data: map[string]string{},
	}
	for key, sightings := range h {
		text, err := trust.EncodeEntry(sightings)
		if err != nil {
			t.Fatal(err)
		}
		cm.Data[key] = text
	}
	return cm
}

func TestReadHistory(t *testing.T) {
	a, b := newJWK(t, "a"), newJWK(t, "b")
	one, two := trust.History{}, trust.History{}
	observe(t, one, liveCluster(a), day(1))
	observe(t, two, liveCluster(a, b), day(3)) // of one cluster key in two ConfigMaps
	first, second := historyMap(t, 1, one), historyMap(t, 2, two)
	first.Data["sa.junk"] = "junk"
	elsewhere := historyMap(t, 3, two)
	elsewhere.Annotations[trust.AnnotationCluster] = otherUID
	unrelated := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kube-root-ca.crt"},
		Data: map[string]string{"ca.crt": "x"}}
	got, problems := trust.ReadHistory([]corev1.ConfigMap{first, second, elsewhere, unrelated}, uid)
	want := trust.History{}
	observe(t, want, liveCluster(a), day(1))
	observe(t, want, liveCluster(a, b), day(3))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if text := fmt.Sprint(problems); len(problems) != 2 || !strings.Contains(text, "sa.junk") ||
		!strings.Contains(text, otherUID) {
		t.Errorf("got problems %v, want one of the junk and one of the other cluster", problems)
	}
}

// withHistory returns the client of an API server with a trust history.
func withHistory(t *testing.T, live trust.JWK, maps ...corev1.ConfigMap) map[string]string {
	t.Helper()
	key, err := json.Marshal(live)
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(corev1.ConfigMapList{Items: maps})
	if err != nil {
		t.Fatal(err)
	}
	answers := discovery(`{"keys":[` + string(key) + `]}`)
	answers["/api/v1/namespaces/tekton-sign/configmaps"] = string(list)
	return answers
}

func TestFetchWithHistory(t *testing.T) {
	a, b, c := newJWK(t, "a"), newJWK(t, "b"), newJWK(t, "b")
	h, future := trust.History{}, trust.History{}
	observe(t, h, liveCluster(a), day(1))
	observe(t, future, liveCluster(a), day(20))
	now := day(5).Time
	aloneB := []trust.IssuerKey{{JWK: b, LastSeen: day(5)}}
	conflict := trust.History{}
	observe(t, conflict, liveCluster(c), day(1)) // kid b, another key
	forbidden := withHistory(t, b)
	delete(forbidden, "/api/v1/namespaces/tekton-sign/configmaps")
	for name, tc := range map[string]struct {
		answers map[string]string
		want    []trust.IssuerKey
		found   bool
		problem string
	}{
		"with the retired key": {withHistory(t, b, historyMap(t, 1, h)), []trust.IssuerKey{
			{JWK: a, NotBefore: day(1), NotAfter: day(1)}, {JWK: b, NotBefore: day(5), LastSeen: day(5)},
		}, true, ""},
		"no history":              {withHistory(t, b), aloneB, false, ""},
		"not allowed":             {forbidden, aloneB, false, "not allowed to list ConfigMaps in namespace tekton-sign"},
		"one kid, two keys":       {withHistory(t, b, historyMap(t, 1, conflict)), aloneB, false, "two different keys"},
		"last seen in the future": {withHistory(t, b, historyMap(t, 1, future)), aloneB, false, "in the future"},
		"a little after this hour": {
			withHistory(t, a, historyMap(t, 1, h)), []trust.IssuerKey{{JWK: a, NotBefore: day(1), LastSeen: day(5)}}, true, "",
		},
	} {
		got, past, err := trust.FetchWithHistory(t.Context(), apiServer(t, tc.answers), "", now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, got.ServiceAccountIssuers[0].Keys); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if text := fmt.Sprint(past.Problems); past.Found != tc.found || (len(past.Problems) > 0) != (tc.problem != "") ||
			!strings.Contains(text, tc.problem) {
			t.Errorf("%s: got %+v, want found %v and problem %q", name, past, tc.found, tc.problem)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	h := trust.History{}
	live := liveCluster(newJWK(f, "a"))
	live.Domains = []trust.Domain{{TrustDomain: "d", X509Authorities: []trust.X509Authority{{DER: newAuthority(f)}}}}
	if err := h.Observe(live, time.Unix(1, 0)); err != nil {
		f.Fatal(err)
	}
	for key, sightings := range h {
		text, err := trust.EncodeEntry(sightings)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(key, text)
	}
	f.Fuzz(func(t *testing.T, key, text string) {
		sightings, err := trust.DecodeEntry(key, text)
		if err != nil {
			return
		}
		again, err := trust.EncodeEntry(sightings)
		if err != nil {
			t.Fatal(err)
		}
		back, err := trust.DecodeEntry(key, again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, again)
		}
		if diff := cmp.Diff(sightings, back); diff != "" {
			t.Errorf("another entry (-want +got):\n%s", diff)
		}
		if _, err := (trust.History{key: sightings}).Cluster("", uid); err != nil {
			t.Errorf("an entry that reads well is of no use: %v", err)
		}
	})
}
