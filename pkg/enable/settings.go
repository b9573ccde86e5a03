// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// annotationPrevious is the annotation of ConfigMap config-signing with the keys as they were before the first
// enable: a JSON object from key to value, null for a key that was absent; or the word absent if there was no
// ConfigMap. Disable relies only on it and on our label (manifests.LabelPartOf): a ConfigMap with neither is the
// user's.
const annotationPrevious = "tekton-sign.dev/previous"

const previousAbsent = "absent"

// KeyChange is one key of ConfigMap config-signing that changes. A nil value is an absent key.
type KeyChange struct {
	Key      string
	Old, New *string
}

// mergeSettings returns ConfigMap config-signing with the wanted settings, and all other keys as they are in live,
// which is nil if there is none. The first merge records what was there before.
func mergeSettings(live *corev1.ConfigMap, namespace string, wanted settings.Settings) (*corev1.ConfigMap, error) {
	merged := &corev1.ConfigMap{}
	merged.Labels = map[string]string{manifests.LabelPartOf: manifests.PartOf}
	if live != nil {
		merged = live.DeepCopy()
	}
	merged.Namespace, merged.Name = namespace, settings.ConfigMapName
	if _, ok := merged.Annotations[annotationPrevious]; !ok {
		previous, err := previousOf(live)
		if err != nil {
			return nil, err
		}
		if merged.Annotations == nil {
			merged.Annotations = map[string]string{}
		}
		merged.Annotations[annotationPrevious] = previous
	}
	if merged.Data == nil {
		merged.Data = map[string]string{}
	}
	for _, key := range settings.Keys() {
		delete(merged.Data, key)
	}
	maps.Copy(merged.Data, wanted.Data())
	if _, err := settings.Parse(merged.Data); err != nil {
		return nil, fmt.Errorf("in namespace %s: %w", namespace, err)
	}
	return merged, nil
}

// previousOf records what disable will restore. The ConfigMap of our own manifests does not count as a state of before.
func previousOf(live *corev1.ConfigMap) (string, error) {
	if live == nil || bearsOurLabel(live) {
		return previousAbsent, nil
	}
	values := map[string]*string{}
	for _, key := range settings.Keys() {
		values[key] = valueOf(live, key)
	}
	encoded, err := json.Marshal(values)
	if err != nil {
		return "", fmt.Errorf("recording the previous settings: %w", err)
	}
	return string(encoded), nil
}

func bearsOurLabel(cm *corev1.ConfigMap) bool {
	return cm.Labels[manifests.LabelPartOf] == manifests.PartOf
}

// isOurs reports whether enable or our manifests created the ConfigMap. Any other is the user's, whatever it holds.
func isOurs(live *corev1.ConfigMap) bool {
	_, recorded := live.Annotations[annotationPrevious]
	return recorded || bearsOurLabel(live)
}

// restoreSettings undoes mergeSettings: it returns the ConfigMap as it was before, with what others have added since,
// or nil if it is to be deleted. A ConfigMap that is not ours stays as it is.
func restoreSettings(live *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	restored := live.DeepCopy()
	if !isOurs(live) {
		return restored, nil
	}
	previous, recorded := live.Annotations[annotationPrevious]
	delete(restored.Annotations, annotationPrevious)
	if bearsOurLabel(live) {
		delete(restored.Labels, manifests.LabelPartOf)
	}
	for _, key := range settings.Keys() {
		delete(restored.Data, key)
	}
	if !recorded || previous == previousAbsent {
		if len(restored.Data)+len(restored.BinaryData) == 0 {
			return nil, nil
		}
		return restored, nil
	}
	var values map[string]*string
	if err := json.Unmarshal([]byte(previous), &values); err != nil {
		return nil, fmt.Errorf("ConfigMap %s/%s: annotation %s holds no previous values: %w; "+
			"set the keys by hand and remove it", live.Namespace, live.Name, annotationPrevious, err)
	}
	for _, key := range settings.Keys() {
		if v := values[key]; v != nil {
			if restored.Data == nil {
				restored.Data = map[string]string{}
			}
			restored.Data[key] = *v
		}
	}
	return restored, nil
}

// keyChanges lists the keys in which two states of ConfigMap config-signing differ. nil stands for no ConfigMap.
func keyChanges(before, after *corev1.ConfigMap) []KeyChange {
	keys := map[string]bool{}
	for _, cm := range []*corev1.ConfigMap{before, after} {
		if cm != nil {
			for key := range cm.Data {
				keys[key] = true
			}
		}
	}
	var changes []KeyChange
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		old, wanted := valueOf(before, key), valueOf(after, key)
		if old == nil || wanted == nil || *old != *wanted {
			changes = append(changes, KeyChange{Key: key, Old: old, New: wanted})
		}
	}
	return changes
}

func valueOf(cm *corev1.ConfigMap, key string) *string {
	if cm == nil {
		return nil
	}
	if v, ok := cm.Data[key]; ok {
		return &v
	}
	return nil
}
