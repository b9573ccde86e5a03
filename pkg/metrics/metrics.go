// SPDX-License-Identifier: Apache-2.0

// Package metrics counts what the add-on does, for Prometheus. Labels never contain text from objects of the
// cluster. Names and values are in the logs and in the objects.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// namespace is the prefix of every metric, except those of the process and of Go.
const namespace = "tekton_sign"

// outcome is the label for the outcome.
const outcome = "outcome"

// Metrics are the metrics of the add-on. docs/operations.md lists them.
type Metrics struct {
	registry *prometheus.Registry
	reasons  *bounded

	verdicts  *prometheus.CounterVec
	webhooks  *prometheus.HistogramVec
	works     *prometheus.HistogramVec
	leftAlone *prometheus.CounterVec
	retries   prometheus.Counter
	catchUps  *prometheus.CounterVec
	records   *prometheus.CounterVec
	stuck     *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	entries   *prometheus.CounterVec
	signed    *prometheus.CounterVec
	leader    prometheus.Gauge
	keys      prometheus.Gauge
	looked    prometheus.Gauge
	apiCalls  *prometheus.CounterVec
	logLines  *prometheus.CounterVec
	queues    *queues
	buildInfo *prometheus.GaugeVec
}

// New returns the metrics of one process.
func New(build version.Info) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		reasons:  newBounded(64),
		verdicts: counters("verdicts_total",
			"TaskRuns with a verdict, each once, by backend, verdict, and the check or other reason behind it.",
			"backend", "verdict", "reason"),
		webhooks: histograms("webhook_duration_seconds",
			"Time from a request to its answer, by webhook and outcome.", "webhook", outcome),
		works: histograms("webhook_work_seconds", "How much of that time the add-on worked on the request, without waiting.",
			"webhook"),
		leftAlone: counters("pods_left_alone_total", "Pods of TaskRuns in scope that will not sign, by the kind of reason.",
			"reason"),
		retries: counter("retries_total",
			"Attempts of TaskRuns that did not verify and were retried."),
		catchUps: counters("catch_ups_total",
			"TaskRuns that completed without a verdict, by outcome of the late verification.",
			outcome),
		records: counters("records_total", "Attempts to write the record of a verdict, by outcome.", outcome),
		stuck: counters("stuck_pods_total",
			"TaskRuns whose pod did not start because of the signer, by what happened to the namespace.",
			outcome),
		refusals: counters("refusals_total", "TaskRuns in audit whose pod a policy refused, when no trial "+
			"found the reason, by what happened to the namespace.", outcome),
		entries: counters("entries_total",
			"Attempts to register TaskRuns with the backend, or to end a registration.", outcome),
		signed: counters("status_signatures_total",
			"Attempts to sign the status of completed TaskRuns with the add-on's own identity, by outcome.", outcome),
		leader: gauge("leader", "1 in the replica that reconciles, 0 in the others."),
		keys:   gauge("trust_history_keys", "Keys in the trust history."),
		looked: gauge("trust_history_checked_timestamp_seconds",
			"When the trust history was last compared with the issuer's keys and stored (Unix time)."),
		apiCalls: counters("api_requests_total", "Requests of the add-on to the API server, by method and HTTP status.",
			"method", "code"),
		logLines: counters("log_lines_total", "Lines logged, by level.", "level"),
		queues:   newQueues(),
		buildInfo: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "build_info", Help: "Always 1. The labels identify the build.",
		}, []string{"version", "go_version", "revision"}),
	}
	m.buildInfo.WithLabelValues(build.Version, build.GoVersion, build.Revision).Set(1)
	for _, o := range []string{succeeded, failed} { // absent is not the same as zero
		m.catchUps.WithLabelValues(o)
		m.records.WithLabelValues(o)
		m.entries.WithLabelValues(o)
		m.signed.WithLabelValues(o)
	}
	m.records.WithLabelValues(givenUp)
	for _, kind := range admission.LeftAlones() {
		m.leftAlone.WithLabelValues(string(kind))
	}
	for _, o := range []string{leftAlone, injected} {
		m.stuck.WithLabelValues(o)
		m.refusals.WithLabelValues(o)
	}
	m.registry.MustRegister(m.verdicts, m.webhooks, m.works, m.leftAlone, m.retries, m.catchUps, m.records, m.stuck,
		m.refusals, m.entries, m.signed, m.leader, m.keys, m.looked, m.apiCalls, m.logLines, m.buildInfo,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(m.queues.collectors()...)
	return m
}

func opts(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: namespace, Name: name, Help: help}
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
}

// histograms measures times, in seconds.
func histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help,
		Buckets: []float64{.0005, .001, .0025, .005, .01, .015, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, labels)
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts(opts(name, help)))
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4})
}

// Webhook returns the counter of requests to a webhook.
func (m *Metrics) Webhook(name string) func(o admission.Outcome, whole, worked time.Duration) {
	return func(o admission.Outcome, whole, worked time.Duration) {
		m.webhooks.WithLabelValues(name, string(o)).Observe(whole.Seconds())
		m.works.WithLabelValues(name).Observe(worked.Seconds())
	}
}

// Verdict counts a verdict, once for each TaskRun.
func (m *Metrics) Verdict(r verify.Result) {
	backend, verdict := string(r.Backend), string(r.Verdict)
	if _, err := signing.ParseBackend(backend); err != nil {
		backend = "unknown" // the evidence does not name a backend
	}
	m.verdicts.WithLabelValues(backend, verdict, m.reasons.value(r.Reason)).Inc()
}

// LeftAlone counts a pod that will not sign.
func (m *Metrics) LeftAlone(kind admission.LeftAlone) {
	m.leftAlone.WithLabelValues(string(kind)).Inc()
}

// Retry counts an attempt that did not verify and is retried.
func (m *Metrics) Retry() { m.retries.Inc() }

const (
	succeeded = "succeeded"
	failed    = "failed"
	givenUp   = "given-up"
)

func outcomeOf(err error) string {
	if err != nil {
		return failed
	}
	return succeeded
}

// CatchUp counts a TaskRun that had completed without a verdict. err is why its late verification failed.
func (m *Metrics) CatchUp(err error) { m.catchUps.WithLabelValues(outcomeOf(err)).Inc() }

// Record counts a record. err is why it could not be written.
func (m *Metrics) Record(err error) { m.records.WithLabelValues(outcomeOf(err)).Inc() }

// Entry counts an attempt to register a TaskRun, or to end its registration.
func (m *Metrics) Entry(err error) { m.entries.WithLabelValues(outcomeOf(err)).Inc() }

// StatusSigned counts a status that was to be signed.
func (m *Metrics) StatusSigned(err error) { m.signed.WithLabelValues(outcomeOf(err)).Inc() }

// RecordGivenUp counts a record that can never be written.
func (m *Metrics) RecordGivenUp() { m.records.WithLabelValues(givenUp).Inc() }

// What happens to a namespace in which a pod did not start because of the signer, or was refused.
const (
	leftAlone = "left-alone" // in audit: pods start without the signer
	injected  = "injected"   // no change: results are enforced, or the signer is not the reason
)

// Stuck counts a pod that did not start because of the signer. stopped is whether its namespace is left alone from
// now on.
func (m *Metrics) Stuck(stopped bool) {
	if stopped {
		m.stuck.WithLabelValues(leftAlone).Inc()
		return
	}
	m.stuck.WithLabelValues(injected).Inc()
}

// Refused counts a pod that a policy refused. Either its namespace is left alone from now on, or a pod without the
// signer was refused, too.
func (m *Metrics) Refused(stopped bool) {
	if stopped {
		m.refusals.WithLabelValues(leftAlone).Inc()
		return
	}
	m.refusals.WithLabelValues(injected).Inc()
}

// Leading sets whether this replica reconciles.
func (m *Metrics) Leading(leads bool) {
	m.leader.Set(0)
	if leads {
		m.leader.Set(1)
	}
}

// TrustHistory sets how many keys the trust history has, and when it was last up to date.
func (m *Metrics) TrustHistory(keys int, at time.Time) {
	m.keys.Set(float64(keys))
	m.looked.Set(float64(at.Unix()))
}

// LogLine counts a line of the log.
func (m *Metrics) LogLine(level string) { m.logLines.WithLabelValues(level).Inc() }
