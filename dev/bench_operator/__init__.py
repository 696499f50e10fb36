"""`make bench-operator`: a real operator and a real API server, with thousands of jobs that run nowhere.

* `control_plane`: etcd and kube-apiserver on loopback, from the binaries of `dev/cluster`.
* `coordinators`: what the operator asks: the Job API of every job, and HEAD records by S3.
* `cluster`: what the missing controllers do: pods for StatefulSets.
* `measure`: what the operator costs.
"""
