variable "region" {
  type        = string
  description = "Region of the build. Must be given: there is no region that suits everybody."
  default     = ""
  validation {
    condition     = regex_replace(var.region, "[a-z0-9-]", "") == ""
    error_message = "The variable region must be the name of a region, such as us-west-2."
  }
}

variable "architecture" {
  type        = string
  description = "x86_64 or arm64."
  default     = "x86_64"
  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The variable architecture must be x86_64 or arm64."
  }
}

variable "distribution" {
  type        = string
  description = "Distribution, as in source_amis.yml; empty: the first that images.yml names for the image."
  default     = ""
  validation {
    condition     = var.distribution == "" || regex_replace(var.distribution, "^[a-z]+-[0-9.]+$", "") == ""
    error_message = "The variable distribution must be one of source_amis.yml, such as ubuntu-24.04."
  }
}

variable "source_ami" {
  type        = string
  description = "Id of the AMI to start from; empty: the newest that source_amis.yml finds."
  default     = ""
  validation {
    condition     = var.source_ami == "" || regex_replace(var.source_ami, "^ami-[0-9a-f]+$", "") == ""
    error_message = "The variable source_ami must be the id of an AMI."
  }
}

variable "instance_type" {
  type        = string
  description = "Type of the instance that bakes; empty: that of images.yml. No GPU is needed."
  default     = ""
}

variable "spot" {
  type        = bool
  description = "Bake on a spot instance, at no more than the on-demand price."
  default     = false
}

variable "vpc_id" {
  type        = string
  description = "VPC of the build; empty: the default one, or the subnet's."
  default     = ""
}

variable "subnet_id" {
  type        = string
  description = "Subnet of the build; empty: one of the default VPC."
  default     = ""
}

variable "public_address" {
  type        = bool
  description = "Give the instance a public address, where var.subnet_id is given; else the default VPC decides. If not, the subnet decides (Packer 1.6) or it gets none: Packer must then run where it reaches private ones, or go through the session manager."
  default     = true
}

variable "session_manager" {
  type        = bool
  description = "Reach the instance through AWS's session manager: no open port, no public address. Needs the session-manager-plugin here, and var.instance_profile."
  default     = false
}

variable "instance_profile" {
  type        = string
  description = "Instance profile of the instance that bakes, such as one with AmazonSSMManagedInstanceCore."
  default     = ""
}

variable "ssh_source_cidrs" {
  type        = list(string)
  description = "Addresses from which the temporary security group lets ssh in."
  default     = ["0.0.0.0/0"]
}

variable "root_gb" {
  type        = number
  description = "Size of the root device; 0: that of images.yml."
  default     = 0
}

variable "root_iops" {
  type        = number
  description = "I/O operations a second of the root device (gp3)."
  default     = 10000
}

variable "root_throughput" {
  type        = number
  description = "MiB/s of the root device (gp3)."
  default     = 1000
}

variable "encrypt" {
  type        = bool
  description = "Encrypt the image, with var.kms_key_id or the account's default key."
  default     = false
}

variable "kms_key_id" {
  type        = string
  description = "KMS key of an encrypted image, in the region of the build."
  default     = ""
}

variable "copy_to_regions" {
  type        = list(string)
  description = "Regions that get a copy of the image."
  default     = []
}

variable "region_kms_key_ids" {
  type        = map(string)
  description = "KMS keys of encrypted copies, by region."
  default     = {}
}

variable "share_with" {
  type        = list(string)
  description = "Accounts that may launch the image and copy its snapshots."
  default     = []
}

variable "deprecate_after_h" {
  type        = number
  description = "Hours until the image counts as deprecated; not known to Packer 1.6."
  default     = 8760
}

variable "tags" {
  type        = map(string)
  description = "More tags of the image, its snapshots, and all that the build makes."
  default     = {}
}
