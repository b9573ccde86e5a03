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
	admissionv1 "k8s.io/api/admission/v1"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	"github.com/tekton-sign/kubectl-tekton-sign/cmd/controller/internal/serve"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Paths of the webhooks in the manifests.
const (
	pathInject = "/inject"
	pathStatus = "/status"
	pathChains = "/chains"
)

// Addresses of the servers. The manifests have the same ports.
const (
	webhookAddress = ":8443"
	probeAddress   = ":8080"
	metricsAddress = ":9090"
)

// drain is how a replica stops. The sum must stay below terminationGracePeriodSeconds in the manifests.
var drain = serve.Drain{
	Least: 5 * time.Second, // each node updates its endpoints within a second or two
	Quiet: time.Second,
	Most:  15 * time.Second,
	Grace: 12 * time.Second, // API servers give up on a webhook after ten
}

// bodyMemory is how many bytes reviews can take while they are read and answered. Together with the connections,
// that stays below half of the memory limit in the manifests.
const bodyMemory = 48 << 20

// certificateOverlap is how long the previous certificate stays in use after a new one was made. Meanwhile, the new
// authority reaches every API server. They accept both for longer than this.
const certificateOverlap = time.Minute

// server serves until its context ends.
type server func(stop context.Context) error

// listen implements process.
func (a *addOn) listen(ctx context.Context) ([]server, error) {
	saveMemory()
	bodies, err := serve.NewBodies(bodyMemory, admission.MaxReview)
	if err != nil {
		return nil, err
	}
	traffic := serve.NewTraffic(a.webhooks(bodies.Take), time.Now)
	certificate := serve.NewCertificate(a.readCertificate, certificateOverlap, time.Now)
	errors := zap.NewStdLog(a.log.Desugar())
	servers, err := listenPlainly(ctx, a.common, map[string]http.Handler{})
	if err != nil {
		return nil, err
	}
	for address, serveOn := range map[string]func(context.Context, net.Listener) error{
		webhookAddress: func(stop context.Context, l net.Listener) error {
			return serve.Webhooks(stop, l, traffic, certificate.Get, drain, errors)
		},
		probeAddress: func(stop context.Context, l net.Listener) error {
			return servePlainly(ctx, stop, l, a.probes(stop, traffic, certificate), errors)
		},
	} {
		s, err := listenOn(ctx, address, serveOn)
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// listenPlainly opens a port without TLS for each handler, and one for the metrics.
func listenPlainly(ctx context.Context, c *common, handlers map[string]http.Handler) ([]server, error) {
	measured := http.NewServeMux()
	measured.Handle("/metrics", c.metrics.Handler())
	handlers[metricsAddress] = measured
	errors := zap.NewStdLog(c.log.Desugar())
	var servers []server
	for address, handler := range handlers {
		s, err := listenOn(ctx, address, func(stop context.Context, l net.Listener) error {
			return servePlainly(ctx, stop, l, handler, errors)
		})
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// listenOn opens a port, so that a port in use is an error at once.
func listenOn(ctx context.Context, address string, serve func(context.Context, net.Listener) error) (server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("opening a port: %w", err)
	}
	return func(stop context.Context) error { return serve(stop, listener) }, nil
}

// servePlainly serves as long as the webhooks can be drained, because the kubelet and Prometheus also ask a replica
// that stops.
func servePlainly(ctx, stop context.Context, l net.Listener, handler http.Handler, errors *log.Logger) error {
	late, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(stop, func() { time.AfterFunc(drain.Least, cancel) })
	return serve.Plain(late, l, handler, errors)
}

// rules are the requests of each webhook, as in the manifests.
func rules() map[string]admission.Rule {
	taskRun := map[string]string{"taskruns": "TaskRun"}
	runs := map[string]string{"taskruns": "TaskRun", "pipelineruns": "PipelineRun"}
	return map[string]admission.Rule{
		pathInject: admission.NewRule("", "v1", admissionv1.Create, map[string]string{"pods": "Pod"}, ""),
		pathStatus: admission.NewRule("tekton.dev", "v1", admissionv1.Update, taskRun, "status"),
		pathConsumers: admission.NewRule("tekton.dev", "v1", admissionv1.Create, runs, "").Or(
			admission.NewRule("tekton.dev", "v1beta1", admissionv1.Create, map[string]string{"customruns": "CustomRun"}, "")),
		pathChains: admission.NewRule("tekton.dev", "v1", admissionv1.Update, runs, "", "status"),
	}
}

// webhooks serves all webhooks.
func (a *addOn) webhooks(take admission.TakeBody) http.Handler {
	inject := &admission.InjectHandler{
		Scope: a, Delivery: a.delivery.Choose, Exception: a.exceptions.ForTaskRun, Inject: a.inject,
		Granted:     a.grants.InForce,
		Tekton:      a.accounts().Tekton,
		Keeper:      settings.Account{Namespace: manifests.Namespace, Name: manifests.KeeperAccount}.Username(),
		OnLeftAlone: a.metrics.LeftAlone, Log: a.log,
	}
	status := &admission.StatusHandler{
		Scope: a, Accounts: a.accounts(), Verifier: a.trust, Pods: admission.OwnPods{Pods: a.pods},
		SealKey: a.sealKey, Since: a.grants.Since, Recorded: a.trust.Recorded, OnRetry: a.metrics.Retry, Now: time.Now,
		Signer: a.registrar.Status(), OnSigned: a.metrics.StatusSigned, Log: a.log,
	}
	chains := &admission.ChainsHandler{Scope: a, Now: time.Now, Log: a.log}
	limiter, mux, asked := admission.NewLimiter(runtime.GOMAXPROCS(0)), http.NewServeMux(), rules()
	for path, admit := range map[string]admission.Admit{
		pathInject: inject.Admit, pathStatus: status.Admit, pathChains: chains.Admit, pathConsumers: a.newConsumers().Admit,
	} {
		done := a.metrics.Webhook(strings.TrimPrefix(path, "/"))
		mux.Handle(path, &admission.Webhook{Admit: admit, Rule: asked[path], Take: take,
			Limiter: limiter, Done: done, Log: a.log})
	}
	return mux
}

// readCertificate reads the certificate of the webhooks from the known state of its Secret.
func (a *addOn) readCertificate() (serve.Pair, error) {
	secret, err := a.secrets().Secrets(manifests.Namespace).Get(manifests.CertificateSecret)
	if err != nil {
		return serve.Pair{}, fmt.Errorf("reading Secret %s: %w", manifests.CertificateSecret, err)
	}
	return serve.Pair{
		Version: string(secret.UID) + "/" + secret.ResourceVersion,
		Cert:    secret.Data[certresources.ServerCert],
		Key:     secret.Data[certresources.ServerKey],
	}, nil
}
