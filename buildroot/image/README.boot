The settings of this box that can be written with a card reader:

  provision.yaml         who this box belongs to: its central service, whom it trusts, how it enrols
  parley.yaml            all settings of a box without a central service; `parley settings` prints what there is
  wpa_supplicant.conf    name and password of the wireless network, on boards that have one
