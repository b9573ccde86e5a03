// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"time"

	"go.uber.org/zap"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	"github.com/tekton-sign/kubectl-tekton-sign/cmd/controller/internal/serve"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// Paths of the webhooks, as the manifests name them.
const (
	pathInject = "/inject"
	pathStatus = "/status"
	pathChains = "/chains"
)

// Addresses of the servers, as the manifests name their ports.
const (
	webhookAddress = ":8443"
	probeAddress   = ":8080"
	metricsAddress = ":9090"
)

// drain is how a replica leaves. Together it must stay below terminationGracePeriodSeconds in the manifests.
var drain = serve.Drain{
	Least: 5 * time.Second, // endpoints change within a second or two, on each node by itself
	Quiet: time.Second,
	Most:  15 * time.Second,
	Grace: 12 * time.Second, // API servers give up on a webhook after ten
}

// certificateOverlap is how long the certificate before is used after a new one was made. Meanwhile the new authority reaches
// every API server; they accept both for longer than this.
const certificateOverlap = time.Minute

// server serves until the context ends.
type server func(stop context.Context) error

// listen opens the ports, so that a port which is taken is an error at once.
func (a *addOn) listen(ctx context.Context) ([]server, error) {
	traffic := serve.NewTraffic(a.webhooks(), time.Now)
	certificate := serve.NewCertificate(a.readCertificate, certificateOverlap, time.Now)
	measured := http.NewServeMux()
	measured.Handle("/metrics", a.metrics.Handler())
	errors := zap.NewStdLog(a.log.Desugar())
	var servers []server
	for _, s := range []struct {
		address string
		serve   func(context.Context, net.Listener) error
	}{
		{webhookAddress, func(stop context.Context, l net.Listener) error {
			return serve.Webhooks(stop, l, traffic, certificate.Get, drain, errors)
		}},
		{probeAddress, func(stop context.Context, l net.Listener) error {
			return servePlainly(ctx, stop, l, a.probes(stop, traffic, certificate), errors)
		}},
		{metricsAddress, func(stop context.Context, l net.Listener) error {
			return servePlainly(ctx, stop, l, measured, errors)
		}},
	} {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
		if err != nil {
			return nil, fmt.Errorf("opening a port: %w", err)
		}
		servers = append(servers, func(stop context.Context) error { return s.serve(stop, listener) })
	}
	return servers, nil
}

// servePlainly serves for as long as the webhooks may be drained: the kubelet and Prometheus want to know about a replica that leaves too.
func servePlainly(ctx, stop context.Context, l net.Listener, handler http.Handler, errors *log.Logger) error {
	late, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(stop, func() { time.AfterFunc(drain.Least, cancel) })
	return serve.Plain(late, l, handler, errors)
}

// webhooks serves all webhooks.
func (a *addOn) webhooks() http.Handler {
	inject := &admission.InjectHandler{Scope: a, Delivery: a.delivery.Choose, Inject: a.inject, Log: a.log}
	status := &admission.StatusHandler{
		Scope: a, Accounts: a.accounts(), Verifier: a.trust, Pods: a.pods,
		OnVerdict: a.metrics.Verdict, OnRetry: a.metrics.Retry, Now: time.Now, Log: a.log,
	}
	chains := &admission.ChainsHandler{Scope: a, Objects: metadataPatcher{a.dynamic}, Now: time.Now, Log: a.log}
	gate, mux := admission.NewGate(runtime.GOMAXPROCS(0)), http.NewServeMux()
	for path, admit := range map[string]admission.Admit{
		pathInject: inject.Admit, pathStatus: status.Admit, pathChains: chains.Admit, pathConsumers: a.newConsumers().Admit,
	} {
		done := a.metrics.Webhook(strings.TrimPrefix(path, "/"))
		mux.Handle(path, &admission.Webhook{Admit: admit, Gate: gate, Done: done, Log: a.log})
	}
	return mux
}

// readCertificate reads the certificate of the webhooks from what is known of its Secret.
func (a *addOn) readCertificate() (serve.Pair, error) {
	secret, err := a.secrets.Secrets(manifests.Namespace).Get(manifests.CertificateSecret)
	if err != nil {
		return serve.Pair{}, fmt.Errorf("reading Secret %s: %w", manifests.CertificateSecret, err)
	}
	return serve.Pair{
		Version: string(secret.UID) + "/" + secret.ResourceVersion,
		Cert:    secret.Data[certresources.ServerCert],
		Key:     secret.Data[certresources.ServerKey],
	}, nil
}
