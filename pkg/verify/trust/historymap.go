// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Layout of the trust history: ConfigMaps tekton-sign-trust-1 to tekton-sign-trust-<HistoryMaps> in the
// add-on's namespace, each below HistoryBytes. Twelve of them hold 25 years of the daily authorities of a
// workload identity server, and as a bundle they stay below MaxBytes. The add-on may update only ConfigMaps
// with these names.
const (
	historyPrefix = "tekton-sign-trust-"
	HistoryMaps   = 12
	HistoryBytes  = 512 << 10 // the keys and values of one ConfigMap are smaller
)

// AnnotationCluster names the cluster whose history a ConfigMap holds, by the UID of its namespace
// kube-system. A ConfigMap that was restored into another cluster is ignored.
const AnnotationCluster = "tekton-sign.dev/cluster"

// HistoryMap is one ConfigMap of the history.
type HistoryMap struct {
	Number   int
	Entries  History
	Problems []error // data that is not an entry
}

// HistoryName returns the name of the ConfigMap with a number.
func HistoryName(number int) string { return historyPrefix + strconv.Itoa(number) }

// HistoryNumber returns the number in the name of a ConfigMap, and whether it is one of the history.
func HistoryNumber(name string) (int, bool) {
	number, err := strconv.Atoi(strings.TrimPrefix(name, historyPrefix))
	if err != nil || number < 1 || number > HistoryMaps || HistoryName(number) != name {
		return 0, false
	}
	return number, true
}

// ReadHistoryMap reads a ConfigMap of the history. Entries that cannot be read are in Problems; the others
// are good.
func ReadHistoryMap(cm *corev1.ConfigMap, clusterUID string) (HistoryMap, error) {
	number, ok := HistoryNumber(cm.Name)
	if !ok {
		return HistoryMap{}, fmt.Errorf("ConfigMap %s does not belong to the trust history", cm.Name)
	}
	m := HistoryMap{Number: number, Entries: History{}}
	if got := cm.Annotations[AnnotationCluster]; got != clusterUID {
		return m, fmt.Errorf("ConfigMap %s holds the history of another cluster: expected annotation %s %q, got %q",
			cm.Name, AnnotationCluster, clusterUID, got)
	}
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		sightings, err := DecodeEntry(key, cm.Data[key])
		if err != nil {
			m.Problems = append(m.Problems, fmt.Errorf("ConfigMap %s: %w", cm.Name, err))
			continue
		}
		m.Entries[key] = sightings
	}
	return m, nil
}

// HistorySize returns how many bytes of HistoryBytes a ConfigMap takes.
func HistorySize(cm *corev1.ConfigMap) int {
	size := 0
	for key, value := range cm.Data {
		size += len(key) + len(value)
	}
	for key, value := range cm.BinaryData {
		size += len(key) + len(value)
	}
	return size
}

// ReadHistory reads the ConfigMaps of the history among configMaps. It returns what it can read, and an error
// for each part that it cannot.
func ReadHistory(configMaps []corev1.ConfigMap, clusterUID string) (History, []error) {
	h := History{}
	var problems []error
	for i := range configMaps {
		cm := &configMaps[i]
		if _, ok := HistoryNumber(cm.Name); !ok {
			continue
		}
		m, err := ReadHistoryMap(cm, clusterUID)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		problems = append(problems, m.Problems...)
		h.Merge(m.Entries)
	}
	return h, problems
}
