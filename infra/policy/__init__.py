"""The policy pack: rules over a stack's resources, and the program that Pulumi runs them by (`__main__`)."""
