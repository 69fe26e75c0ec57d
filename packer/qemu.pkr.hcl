# A machine of its own, from a disk that boots: for machines with KVM. Emulated, each task takes tens of
# seconds, and `bakehouse disk build` provisions the root file system instead.
source "qemu" "machine" {
  iso_url          = var.base_disk
  iso_checksum     = var.base_checksum
  disk_image       = true
  format           = "qcow2"
  disk_interface   = "virtio"
  disk_size        = local.entry.disk.gb > 0 ? "${local.entry.disk.gb}G" : "8G"
  output_directory = var.disk_folder
  vm_name          = "disk.qcow2"

  accelerator = var.accelerator
  # Its compact disc is on a bus that the cloud kernel drives; that of q35 is not.
  machine_type = "pc"
  cpus         = var.cpus
  memory       = var.memory_mb
  headless     = true
  net_device   = "virtio-net"
  qemuargs = [
    ["-cpu", "max"],
    ["-device", "virtio-rng-pci"],
    ["-serial", "file:${var.console}"],
  ]

  # cloud-init (NoCloud) lets the key in that Packer has.
  cd_files             = var.seed != "" ? ["${var.seed}/user-data", "${var.seed}/meta-data"] : []
  cd_label             = "cidata"
  communicator         = "ssh"
  ssh_username         = "debian"
  ssh_private_key_file = var.ssh_private_key_file
  ssh_timeout          = "20m"
  # sshd answers before cloud-init has let the key in.
  ssh_handshake_attempts = 200

  # image_cleanup has taken away what it was let in with, but not the connection.
  shutdown_command = "sudo systemctl poweroff"
  shutdown_timeout = "10m"
}
