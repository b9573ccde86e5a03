// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Delivery knows whether a pod can get the signer by an image volume. That takes Kubernetes 1.35, and on every node
// that accepts pods a kubelet of that version with at least containerd 2.1 or CRI-O 1.33.
type Delivery struct {
	informer  cache.SharedIndexInformer
	discovery discovery.ServerVersionInterface
	log       *zap.SugaredLogger

	mu     sync.RWMutex
	server string // version of the API server; empty while unknown
	last   string // the last decision, for the log
}

// serverVersionInterval is how often the API server's version is read. It changes only with an upgrade.
const serverVersionInterval = 10 * time.Minute

// NewDelivery returns the view of the nodes. Until Run has read them, the answer is an init container.
func NewDelivery(client kubernetes.Interface, log *zap.SugaredLogger) *Delivery {
	informer := coreinformers.NewNodeInformer(client, 0, cache.Indexers{})
	if err := informer.SetTransform(stripNode); err != nil { // fails on a started informer only
		panic(err)
	}
	return &Delivery{informer: informer, discovery: client.Discovery(), log: log}
}

// Run watches the nodes and the server's version until ctx ends.
func (d *Delivery) Run(ctx context.Context) {
	go wait.UntilWithContext(ctx, d.askServer, serverVersionInterval)
	d.informer.RunWithContext(ctx)
}

// HasSynced reports whether all nodes and the server's version have been seen.
func (d *Delivery) HasSynced() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.server != "" && d.informer.HasSynced()
}

func (d *Delivery) askServer(context.Context) {
	info, err := d.discovery.ServerVersion()
	if err != nil {
		d.log.Warnw("asking the API server for its version", zap.Error(err))
		return
	}
	d.mu.Lock()
	d.server = info.GitVersion
	d.mu.Unlock()
}

// Choose returns how a new pod gets the signer: by image or init.
func (d *Delivery) Choose(wanted settings.Delivery) settings.Delivery {
	if wanted != settings.DeliveryAuto {
		return wanted
	}
	d.mu.RLock()
	server, last := d.server, d.last
	d.mu.RUnlock()
	reason := "the nodes are not known yet"
	if server != "" && d.informer.HasSynced() {
		reason = delivery.LacksImageVolumes(server, nodesOf(d.informer.GetStore()))
	}
	chosen := settings.DeliveryImage
	if reason != "" {
		chosen = settings.DeliveryInit
	}
	if now := string(chosen) + reason; now != last {
		d.log.Infow("delivery of the signer", "delivery", chosen, "reason", reason)
		d.mu.Lock()
		d.last = now
		d.mu.Unlock()
	}
	return chosen
}

// Takes reports whether new pods can get to a node. A node that is cordoned, or that does not answer, takes none.
func (d *Delivery) Takes(name string) bool {
	obj, _, _ := d.informer.GetStore().GetByKey(name)
	node, ok := obj.(*corev1.Node)
	return ok && !node.Spec.Unschedulable && !slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool {
		return t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable
	})
}

// stripNode removes everything from a node that delivery.LacksImageVolumes and Takes do not read.
func stripNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	stripped := &corev1.Node{}
	stripped.Name, stripped.ResourceVersion, stripped.UID = node.Name, node.ResourceVersion, node.UID
	stripped.Spec.Unschedulable, stripped.Spec.Taints = node.Spec.Unschedulable, node.Spec.Taints
	stripped.Status.NodeInfo.OperatingSystem = node.Status.NodeInfo.OperatingSystem
	stripped.Status.NodeInfo.KubeletVersion = node.Status.NodeInfo.KubeletVersion
	stripped.Status.NodeInfo.ContainerRuntimeVersion = node.Status.NodeInfo.ContainerRuntimeVersion
	return stripped, nil
}

func nodesOf(store cache.Store) []*corev1.Node {
	var nodes []*corev1.Node
	for _, obj := range store.List() {
		if node, ok := obj.(*corev1.Node); ok {
			nodes = append(nodes, node)
		}
	}
	return nodes
}
