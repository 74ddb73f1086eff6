"""What an operator publishes or hands over: the transparency report and the technical file.

Both are made of what the deployment itself knows: the audit log, verified while it is read; the policies in force;
the networks with what was measured about them.
"""
