// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

func configMap(data, annotations map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tekton", Name: settings.ConfigMapName, Annotations: annotations},
		Data:       data,
	}
}

func signingOn(names ...string) settings.Settings {
	s := settings.Default()
	s.Backend = signing.BackendOIDCSAToken
	s.Scope.Names = names
	return s
}

// After enable, another enable with other settings, and disable, the settings are as they were before.
func TestSettingsComeBack(t *testing.T) {
	for name, before := range map[string]*corev1.ConfigMap{
		"no ConfigMap":    nil,
		"other keys only": configMap(map[string]string{"_example": "text"}, nil),
		"keys of ours":    configMap(map[string]string{"enforce-nonfalsifiability": "none", "namespaces": "x"}, nil),
		"keys of tokens": configMap(map[string]string{
			"signing-format": "v2", "oidc-binding": "key", "oidc-audience": "theirs", "oidc-token-expiration-seconds": "900",
		}, nil),
		"a key with empty data":   configMap(map[string]string{"_example": ""}, nil),
		"annotations of somebody": configMap(map[string]string{"delivery": "init"}, map[string]string{"a": "b"}),
	} {
		t.Run(name, func(t *testing.T) {
			first, err := mergeSettings(before, "tekton", signingOn("a", "b"))
			if err != nil {
				t.Fatal(err)
			}
			again := signingOn()
			again.Format, again.Binding, again.Tokens.Audience, again.Tokens.Lifetime = "v1", "audience", "ours", time.Hour
			second, err := mergeSettings(first, "tekton", again)
			if err != nil {
				t.Fatal(err)
			}
			got, err := settings.Parse(second.Data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(again, got); diff != "" {
				t.Errorf("settings in force (-want +got):\n%s", diff)
			}
			restored, err := restoreSettings(second)
			if err != nil {
				t.Fatal(err)
			}
			if before == nil {
				if restored != nil {
					t.Errorf("a ConfigMap that enable made stays: %v", restored.Data)
				}
				return
			}
			if diff := cmp.Diff(before.Data, restored.Data); diff != "" {
				t.Errorf("data (-before +after):\n%s", diff)
			}
			if len(restored.Annotations) != len(before.Annotations) || restored.Annotations["a"] != before.Annotations["a"] {
				t.Errorf("annotations: before %v, after %v", before.Annotations, restored.Annotations)
			}
		})
	}
}

// ourLabel is the label of the ConfigMap in our manifests.
func ourLabel() map[string]string { return map[string]string{manifests.LabelPartOf: manifests.PartOf} }

// A user who applies the rendered manifests and then enables has no previous settings.
func TestSettingsOfManifests(t *testing.T) {
	rendered := configMap(signingOn().Data(), nil)
	rendered.Labels = ourLabel()
	for name, added := range map[string]map[string]string{"as rendered": nil,
		"with a key of somebody's": {"_example": "x"}} {
		t.Run(name, func(t *testing.T) {
			before := rendered.DeepCopy()
			for k, v := range added {
				before.Data[k] = v
			}
			for how, live := range map[string]*corev1.ConfigMap{"applied alone": before, "enabled": enabled(t, before),
				"enabled twice": enabled(t, enabled(t, before))} {
				restored, err := restoreSettings(live)
				if err != nil {
					t.Fatal(err)
				}
				if added == nil {
					if restored != nil {
						t.Errorf("%s: the settings stay on: %v", how, restored.Data)
					}
					continue
				}
				if diff := cmp.Diff(added, restored.Data); diff != "" || len(restored.Labels)+len(restored.Annotations) > 0 {
					t.Errorf("%s: labels %v, annotations %v, data (-want +got):\n%s", how, restored.Labels, restored.Annotations, diff)
				}
			}
		})
	}
}

func enabled(t *testing.T, before *corev1.ConfigMap) *corev1.ConfigMap {
	t.Helper()
	merged, err := mergeSettings(before, "tekton", signingOn("ci"))
	if err != nil {
		t.Fatal(err)
	}
	return merged
}

// Restored settings have no record, and belong to the user from then on.
func TestSettingsRestoredOnce(t *testing.T) {
	before := configMap(map[string]string{"enforce-nonfalsifiability": "oidc-sa-token",
		"signing-enforcement": "enforce"}, nil)
	for name, between := range map[string]func(*corev1.ConfigMap){
		"enabled":                   func(*corev1.ConfigMap) {},
		"and our manifests on top":  func(cm *corev1.ConfigMap) { cm.Labels = ourLabel() },
		"and a label of the user's": func(cm *corev1.ConfigMap) { cm.Labels = map[string]string{"team": "a"} },
	} {
		t.Run(name, func(t *testing.T) {
			live := enabled(t, before)
			between(live)
			for range 3 {
				restored, err := restoreSettings(live)
				if err != nil || restored == nil {
					t.Fatalf("the user's ConfigMap is deleted, %v", err)
				}
				if diff := cmp.Diff(before.Data, restored.Data); diff != "" || isOurs(restored) {
					t.Errorf("ours: %v, data (-want +got):\n%s", isOurs(restored), diff)
				}
				live = restored
			}
		})
	}
}

func TestSettingsKeepWhatOthersAdded(t *testing.T) {
	merged, err := mergeSettings(nil, "tekton", signingOn())
	if err != nil {
		t.Fatal(err)
	}
	merged.Data["_example"] = "added since"
	restored, err := restoreSettings(merged)
	if err != nil {
		t.Fatal(err)
	}
	if restored == nil {
		t.Fatal("the ConfigMap is deleted with what somebody added")
	}
	if diff := cmp.Diff(map[string]string{"_example": "added since"}, restored.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

func TestSettingsRefuse(t *testing.T) {
	_, err := mergeSettings(configMap(map[string]string{"of-the-future": "1"}, nil), "tekton", signingOn())
	if err == nil || !strings.Contains(err.Error(), "of-the-future: unknown key") {
		t.Errorf("a key that the add-on would stumble over: got %v", err)
	}
	_, err = restoreSettings(configMap(nil, map[string]string{annotationPrevious: "{broken"}))
	if err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("a broken annotation: got %v, want an error with the next step", err)
	}
}

func TestMergeDoesNotChangeLive(t *testing.T) {
	live := configMap(map[string]string{"delivery": "init"}, nil)
	if _, err := mergeSettings(live, "tekton", signingOn()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(configMap(map[string]string{"delivery": "init"}, nil), live); diff != "" {
		t.Errorf("live object (-before +after):\n%s", diff)
	}
}

func TestKeyChanges(t *testing.T) {
	text := func(s string) *string { return &s }
	got := keyChanges(
		configMap(map[string]string{"same": "1", "gone": "2", "new value": "3"}, nil),
		configMap(map[string]string{"same": "1", "new value": "4", "added": ""}, nil))
	want := []KeyChange{{"added", nil, text("")}, {"gone", text("2"), nil}, {"new value", text("3"), text("4")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
