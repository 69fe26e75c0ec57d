variable "base_disk" {
  type        = string
  description = "Source qemu: absolute path of the bootable disk that it starts from; `bakehouse disk build debian-12-node --no-proof` makes one."
  default     = "base.qcow2"
}

variable "base_checksum" {
  type        = string
  description = "Source qemu: `sha256:` and the digest of base_disk; none: it is not checked."
  default     = "none"
}

variable "disk_folder" {
  type        = string
  description = "Source qemu: folder for disk.qcow2; must not exist."
  default     = "disk"
}

variable "accelerator" {
  type        = string
  description = "Source qemu: kvm, or tcg, which emulates."
  default     = "kvm"
  validation {
    condition     = var.accelerator == "kvm" || var.accelerator == "tcg"
    error_message = "The variable accelerator must be kvm or tcg."
  }
}

variable "cpus" {
  type        = number
  description = "Source qemu: processors."
  default     = 2
}

variable "memory_mb" {
  type        = number
  description = "Source qemu: memory in MiB."
  default     = 4096
}

variable "console" {
  type        = string
  description = "Source qemu: file for what the machine says on its console."
  default     = "/dev/null"
}

variable "seed" {
  type        = string
  description = "Source qemu: folder with user-data and meta-data for cloud-init, which let the key in."
  default     = ""
}

variable "ssh_private_key_file" {
  type        = string
  description = "Source qemu: the key that seed lets in."
  default     = ""
}
