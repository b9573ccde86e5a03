// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
)

// queues measures the reconcilers' work queues. Their names are constants of this program.
type queues struct {
	depth, longest *prometheus.GaugeVec
	adds, retries  *prometheus.CounterVec
	waited, worked *prometheus.HistogramVec

	mu      sync.Mutex
	running map[string]*running
}

func newQueues() *queues {
	label := []string{"queue"}
	gauges := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts(opts(name, help)), label)
	}
	return &queues{
		depth:   gauges("queue_depth", "Keys that wait for a reconciler."),
		longest: gauges("queue_longest_running_seconds", "How long the reconciler has worked on the oldest key."),
		adds:    counters("queue_adds_total", "Keys added for a reconciler.", label...),
		retries: counters("queue_retries_total", "Keys added again after a reconciler failed.", label...),
		waited:  histograms("queue_wait_seconds", "How long keys waited for a reconciler.", label...),
		worked:  histograms("queue_work_seconds", "How long a reconciler took for a key.", label...),
		running: map[string]*running{},
	}
}

func (q *queues) collectors() []prometheus.Collector {
	return []prometheus.Collector{q.depth, q.longest, q.adds, q.retries, q.waited, q.worked}
}

// running records the age of the oldest key in work, and remembers it.
type running struct {
	prometheus.Gauge

	mu      sync.Mutex
	seconds float64
}

// Set implements workqueue.SettableGaugeMetric.
func (r *running) Set(seconds float64) {
	r.Gauge.Set(seconds)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seconds = seconds
}

// Queues returns the metrics of the reconcilers' work queues.
func (m *Metrics) Queues() workqueue.MetricsProvider { return queueProvider{m.queues} }

// LongestWork returns for how long the reconcilers have worked on the oldest key.
func (m *Metrics) LongestWork() time.Duration {
	m.queues.mu.Lock()
	all := maps.Clone(m.queues.running)
	m.queues.mu.Unlock()
	var longest float64
	for _, r := range all {
		r.mu.Lock()
		longest = max(longest, r.seconds)
		r.mu.Unlock()
	}
	return time.Duration(longest * float64(time.Second))
}

// queueProvider implements workqueue.MetricsProvider.
type queueProvider struct{ q *queues }

func (p queueProvider) NewDepthMetric(name string) workqueue.GaugeMetric {
	return p.q.depth.WithLabelValues(name)
}

func (p queueProvider) NewAddsMetric(name string) workqueue.CounterMetric {
	return p.q.adds.WithLabelValues(name)
}

func (p queueProvider) NewLatencyMetric(name string) workqueue.HistogramMetric {
	return p.q.waited.WithLabelValues(name)
}

func (p queueProvider) NewWorkDurationMetric(name string) workqueue.HistogramMetric {
	return p.q.worked.WithLabelValues(name)
}

func (p queueProvider) NewUnfinishedWorkSecondsMetric(name string) workqueue.SettableGaugeMetric {
	return p.longestRunning(name) // knative.dev/pkg asks for this twice, and sets the sum first, then the oldest
}

func (p queueProvider) NewLongestRunningProcessorSecondsMetric(name string) workqueue.SettableGaugeMetric {
	return p.longestRunning(name)
}

func (p queueProvider) longestRunning(name string) workqueue.SettableGaugeMetric {
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	r := &running{Gauge: p.q.longest.WithLabelValues(name)}
	p.q.running[name] = r
	return r
}

func (p queueProvider) NewRetriesMetric(name string) workqueue.CounterMetric {
	return p.q.retries.WithLabelValues(name)
}

// APIRequests returns the counter of requests to the API server, for client-go's metrics.RequestResult.
func (m *Metrics) APIRequests() interface {
	Increment(ctx context.Context, code, method, host string)
} {
	return apiRequests{m.apiCalls}
}

type apiRequests struct{ calls *prometheus.CounterVec }

// Increment implements metrics.ResultMetric of client-go. code is an HTTP status, or <error>.
func (a apiRequests) Increment(_ context.Context, code, method, _ string) {
	a.calls.WithLabelValues(method, code).Inc()
}
