"""What is computed in C++, each beside its plain version in torch, built at first use where there is a compiler."""
