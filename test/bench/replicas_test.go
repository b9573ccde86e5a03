// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package bench

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (c *lab) replicas(b *testing.B) map[string]replica {
	b.Helper()
	pods, err := c.kube.CoreV1().Pods("tekton-sign").List(b.Context(), metav1.ListOptions{})
	if err != nil {
		b.Error(err)
		return nil
	}
	all := map[string]replica{}
	for _, pod := range pods.Items {
		r := replica{status: map[string]histogram{"duration": {}, "work": {}}}
		for _, line := range c.metrics(b, "/api/v1/namespaces/tekton-sign/pods/"+pod.Name+":9090/proxy/metrics") {
			if value, ok := strings.CutPrefix(line, "process_resident_memory_bytes "); ok {
				r.memory, _ = strconv.ParseFloat(value, 64)
			}
			if m := statusBucket.FindStringSubmatch(line); m != nil {
				bound, _ := strconv.ParseFloat(m[2], 64)
				count, _ := strconv.ParseFloat(m[3], 64)
				r.status[m[1]][bound] += count
			}
		}
		all[pod.Name] = r
	}
	return all
}

// histogram counts, for each upper bound in seconds, the requests that did not take longer.
type histogram map[float64]float64

func (h histogram) add(other histogram, times float64) {
	for bound, count := range other {
		h[bound] += times * count
	}
}

// percentile returns the smallest bound in milliseconds that p percent did not exceed.
func (h histogram) percentile(p float64) float64 {
	bounds := slices.Sorted(maps.Keys(h))
	if len(bounds) == 0 {
		return 0
	}
	all := h[bounds[len(bounds)-1]]
	for _, bound := range bounds {
		if h[bound] >= all*p/100 {
			return bound * 1000
		}
	}
	return 0
}
